//! The bench measures: a short run of real servers under real load, ended in time.

use std::process::{Command, Output};

fn runner(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_runner")).args(args).output().unwrap()
}

#[test]
fn echo_servers_are_measured_and_tabled() {
    let root = std::env::temp_dir().join(format!("mainspring-bench-smoke-{}", std::process::id()));
    let root_text = root.to_string_lossy().into_owned();
    std::fs::create_dir_all(&root).unwrap();
    let args = ["run", "echo", "--quick", "--rounds", "1", "--window-ms", "200", "--repeats", "0"];
    let output = runner(&[&args[..], &["--root", &root_text]].concat());
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    for server in ["floor-echo", "threads-echo", "mio-echo", "tokio-echo"] {
        let row = text.lines().find(|line| line.starts_with(&format!("| {server} |"))).unwrap();
        let per_request: f64 =
            row.split('|').nth(2).unwrap().split_whitespace().next().unwrap().parse().unwrap();
        assert!(per_request > 0.01 && per_request < 10_000.0, "{row}");
    }
    assert!(text.contains("| mainspring | - |"), "not given, so not measured: {text}");
    let written = std::fs::read_to_string(root.join("bench/out/echo.txt")).unwrap();
    assert!(written.contains("tcp 64 B 50c x1"), "{written}");
    let svg = std::fs::read_to_string(root.join("bench/out/echo.svg")).unwrap();
    assert!(svg.starts_with("<svg") && svg.contains(">threads-echo</text>"));
    std::fs::remove_dir_all(&root).unwrap();
}

#[test]
fn every_http_and_redis_server_gives_right_replies() {
    let root = std::env::temp_dir().join(format!("mainspring-bench-right-{}", std::process::id()));
    let root_text = root.to_string_lossy().into_owned();
    std::fs::create_dir_all(&root).unwrap();
    for (kind, servers) in
        [("http", &["floor-http", "hyper-http", "threads-http"][..]), ("redis", &["floor-resp"])]
    {
        let args =
            ["run", kind, "--quick", "--rounds", "1", "--window-ms", "200", "--repeats", "0"];
        let output = runner(&[&args[..], &["--root", &root_text]].concat());
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{text}");
        for server in servers {
            let prefix = format!("| {server} |");
            let rows: Vec<&str> = text.lines().filter(|line| line.starts_with(&prefix)).collect();
            assert!(rows.len() >= 2, "{text}");
            assert!(
                rows.iter().all(|row| !row.contains("| - |  |") && row.contains('[')),
                "{text}"
            );
        }
    }
    std::fs::remove_dir_all(&root).unwrap();
}

#[test]
fn an_unknown_kind_is_refused_with_those_that_are() {
    let output = runner(&["run", "ftp"]);
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8(output.stderr).unwrap();
    for kind in ["echo", "http", "redis"] {
        assert!(text.contains(kind), "{text}");
    }
}

#[test]
fn an_open_loop_keeps_its_rate_and_counts_latency_from_the_due_time() {
    let mut server = Command::new(env!("CARGO_BIN_EXE_runner"))
        .args(["serve", "floor-echo"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let stdout = server.stdout.take().unwrap();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line).unwrap();
    let address = line.trim().rsplit(' ').next().unwrap();
    let output = runner(
        &"load --protocol echo --connections 4 --rate 2000 --warm-up 0.1 --duration 0.5 --target"
            .split(' ')
            .chain([address])
            .collect::<Vec<_>>(),
    );
    server.kill().unwrap();
    server.wait().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let report: serde_json::Value = serde_json::from_str(&text).unwrap();
    // Half a second at 2000/s, whatever the machine does meanwhile, but for one at either end of the window.
    let requests = report["requests"].as_u64().unwrap();
    assert!((999..=1001).contains(&requests), "{text}");
    assert_eq!(report["lost"], 0, "{text}");
}
