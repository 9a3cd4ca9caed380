//! The bench measures: a short run of real servers under real load, ended in time.

use std::process::{Command, Output};

fn runner(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_runner")).args(args).output().unwrap()
}

/// Says where to get it if it is not there; all others have to be measured.
const INSTALLED: &[&str] = &["libuv-echo", "nginx-http"];

/// One short round of a kind in a folder of its own: what it prints, its text file and its plot.
fn short_run(kind: &str) -> (String, String, String) {
    let folder = format!("mainspring-bench-smoke-{kind}-{}", std::process::id());
    let root = std::env::temp_dir().join(folder);
    std::fs::create_dir_all(&root).unwrap();
    let root_text = root.to_string_lossy().into_owned();
    let args = ["run", kind, "--quick", "--rounds", "1", "--window-ms", "200", "--repeats", "0"];
    let output = runner(&[&args[..], &["--root", &root_text]].concat());
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let written =
        ["txt", "svg"].map(|kind_of_file| root.join(format!("bench/out/{kind}.{kind_of_file}")));
    let [table, plot] = written.map(|path| std::fs::read_to_string(path).unwrap());
    std::fs::remove_dir_all(&root).unwrap();
    (text, table, plot)
}

/// In at least `cases` tables the row of the server has a sensible figure.
fn assert_measured(text: &str, server: &str, cases: usize) {
    let prefix = format!("| {server} |");
    let rows: Vec<&str> = text.lines().filter(|line| line.starts_with(&prefix)).collect();
    if INSTALLED.contains(&server) && rows.iter().all(|row| row.contains("(Debian: ")) {
        assert!(!rows.is_empty(), "{text}");
        eprintln!("NOT TESTED: {}", rows[0]);
        return;
    }
    // A row of figures has the least and the largest in brackets.
    let figures = rows.iter().filter_map(|row| {
        let cell = row.split('|').nth(2)?.split_once(" [")?.0.trim();
        cell.parse::<f64>().ok()
    });
    let figures: Vec<f64> = figures.collect();
    assert!(figures.len() >= cases, "{server} is measured in {} cases: {text}", figures.len());
    assert!(figures.iter().all(|figure| *figure > 0.001 && *figure < 10_000.0), "{rows:?}");
}

#[test]
fn echo_servers_are_measured_and_tabled() {
    let (text, table, plot) = short_run("echo");
    for server in [
        "floor-echo",
        "floor-echo-uring",
        "mio-echo",
        "tokio-echo",
        "monoio-echo",
        "monoio-legacy-echo",
        "compio-echo",
        "tasks-echo",
        "tasks-echo-uring",
        "message-io-echo",
        "libuv-echo",
        "threads-echo",
    ] {
        assert_measured(&text, server, 3);
        assert!(plot.contains(server), "{server} is not in the plot");
    }
    for server in ["framed-echo", "framed-echo-uring"] {
        assert_measured(&text, server, 1);
        assert!(plot.contains(server), "{server} is not in the plot");
    }
    assert!(text.contains("| mainspring ready | - |"), "not given, so not measured: {text}");
    assert!(table.contains("tcp 64 B 50c x1"), "{table}");
    assert!(plot.starts_with("<svg"), "{plot}");
}

#[test]
fn every_http_and_redis_server_gives_right_replies() {
    let (text, ..) = short_run("http");
    for server in
        ["floor-http", "floor-http-uring", "hyper-http", "may-minihttp-http", "nginx-http"]
    {
        assert_measured(&text, server, 2);
    }
    let (text, ..) = short_run("redis");
    for server in ["floor-resp", "floor-resp-uring"] {
        assert_measured(&text, server, 2);
    }
}

#[test]
fn the_peer_over_tls_is_measured() {
    let (text, ..) = short_run("tls");
    assert_measured(&text, "tokio-tls", 2);
    assert!(text.contains("| mainspring ready | - |"), "not given, so not measured: {text}");
}

#[test]
fn datagram_servers_are_measured() {
    let (text, ..) = short_run("udp");
    for server in ["floor-udp", "floor-udp-offload", "mio-udp", "tokio-udp"] {
        assert_measured(&text, server, 1);
    }
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
