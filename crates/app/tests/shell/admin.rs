//! The admin's page, by curl, by a parser of Prometheus' own format, and by bytes.

use crate::stage::{
    PATIENCE, TCP, connect, curl, curled, echo, eventually, eventually_sim, inet, rest, say,
    simulated, start, stop,
};
use mainspring_app::Admin;
use mainspring_app::guard::{Guard, GuardLimits};
use mainspring_app::metrics::Meter;
use mainspring_loop::{Loops, Running, Server};
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::time::Duration;

/// An echo server with an admin; its page, and where it echoes.
fn served(loops: usize) -> (Running, String) {
    let guard = Guard::new(GuardLimits::default());
    let meter = Meter::every(Duration::from_millis(20)).guard("public \"one\"", &guard);
    let running = start(Server::builder().loops(Loops::Count(loops)), move |shard| {
        meter.host(shard);
        let host = shard.host(echo);
        shard.listen(host, TCP)?;
        let own = |page: &mut String| page.push_str("# TYPE own_total counter\nown_total 1\n");
        Admin::new(&meter).append(own).listen(shard, TCP).map(drop)
    });
    let url = format!("http://{}", running.addrs()[1]);
    (running, url)
}

/// Name, kind and names of labels of everything on a page.
fn families(page: &str) -> BTreeSet<(String, String, String)> {
    let mut kinds = std::collections::BTreeMap::new();
    let mut found = BTreeSet::new();
    for line in page.lines() {
        if let Some(typed) = line.strip_prefix("# TYPE ") {
            let (name, kind) = typed.split_once(' ').expect("a name and a kind");
            kinds.insert(name.to_owned(), kind.to_owned());
        } else if !line.starts_with('#') {
            let (sample, _) = line.rsplit_once(' ').expect("a sample and a value");
            let (name, labels) = sample.split_once('{').unwrap_or((sample, ""));
            // The one value with a quote in it is a guard's.
            let names: Vec<&str> = labels
                .split("\",")
                .filter_map(|label| label.split_once("=\""))
                .map(|(name, _)| name)
                .collect();
            found.insert((name.to_owned(), kinds[name].clone(), names.join(", ")));
        }
    }
    found
}

/// The rows of the table in the documentation: `| name | kind | labels | .. |`.
fn documented() -> BTreeSet<(String, String, String)> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/metrics.md");
    let page = std::fs::read_to_string(path).expect("docs/metrics.md");
    let row = |line: &str| {
        let mut cells = line.split('|').map(|cell| cell.trim().replace('`', ""));
        let (_, name) = (cells.next()?, cells.next()?);
        let (kind, labels) = (cells.next()?, cells.next()?);
        name.starts_with("mainspring_").then_some((name, kind, labels))
    };
    page.lines().filter_map(row).collect()
}

#[test]
fn curl_gets_what_the_documentation_lists_and_nothing_else() {
    let (running, url) = served(2);
    let page = curled(&["--include", &format!("{url}/metrics?ignored=1")]);
    let (head, page) = page.split_once("\r\n\r\n").expect("a head");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(head.contains("content-type: text/plain; version=0.0.4; charset=utf-8"), "{head}");
    let mut found = families(page);
    assert!(found.remove(&("own_total".to_owned(), "counter".to_owned(), String::new())));
    let wanted = documented();
    let missing: Vec<_> = wanted.difference(&found).collect();
    let unknown: Vec<_> = found.difference(&wanted).collect();
    assert!(missing.is_empty() && unknown.is_empty(), "missing {missing:?}\nunknown {unknown:?}");
    stop(running);
}

#[test]
fn the_page_has_the_bytes_that_passed() {
    let (running, url) = served(2);
    let mut client = connect(inet(&running.addrs()[0]));
    client.write_all(&[7; 4321]).unwrap();
    client.read_exact(&mut [0; 4321]).unwrap();
    let sum = |page: &str, name: &str| -> f64 {
        let samples = page.lines().filter(|line| line.starts_with(&format!("{name}{{")));
        samples.map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap()).sum()
    };
    eventually("4321 bytes echoed, on connections that are open", || {
        // The admin's own requests are among the figures: this one is the only one.
        let page = curled(&[&format!("{url}/metrics")]);
        sum(&page, "mainspring_received_bytes_total") >= 4321.0
            && sum(&page, "mainspring_sent_bytes_total") >= 4321.0
            && sum(&page, "mainspring_connections") >= 2.0
    });
    stop(running);
}

/// The parser of the Python client of Prometheus reads the page and finds the escaped label.
#[test]
fn a_foreign_parser_reads_the_page() {
    let (running, url) = served(1);
    let page = curled(&[&format!("{url}/metrics")]);
    let script = "
import sys
from prometheus_client.parser import text_string_to_metric_families as parse
families = list(parse(sys.stdin.read()))
names = [family.name for family in families]
assert len(names) == len(set(names)), 'a family comes twice'
assert all(f.type in ('counter', 'gauge') for f in families), [f.type for f in families]
assert all(f.documentation for f in families if f.name != 'own'), 'help is missing'
labels = {s.labels['guard'] for f in families for s in f.samples if 'guard' in s.labels}
assert labels == {'public \"one\"'}, labels
print(sum(len(f.samples) for f in families))
";
    let python = crate::stage::peers().join("python");
    let mut child = Command::new("python3")
        .args(["-c", script])
        .env("PYTHONPATH", python)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("python3: run `cargo xtask test`, which installs it");
    child.stdin.take().unwrap().write_all(page.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let samples = page.lines().filter(|line| !line.starts_with('#')).count();
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), samples.to_string());
    stop(running);
}

#[test]
fn curl_is_told_what_there_is_and_what_is_not() {
    let (running, url) = served(1);
    assert_eq!(curled(&[&format!("{url}/healthz")]), "ok\n");
    let status = ["--output", "/dev/null", "--write-out", "%{http_code}"];
    for (more, path, wanted) in [
        (&[][..], "/", "404"),
        (&[], "/metrics/x", "404"),
        (&["--request", "POST"], "/metrics", "405"),
        (&["--request", "DELETE"], "/healthz", "405"),
        (&["--request", "GET", "--data", "body"], "/metrics", "413"),
        (&["--header", "Content-Length: 0"], "/healthz", "200"),
    ] {
        let target = format!("{url}{path}");
        let arguments = [&status[..], more, &[&target]].concat();
        assert_eq!(curled(&arguments), wanted, "{more:?} {path}");
    }
    let allow = curled(&["--include", "--request", "PUT", &format!("{url}/metrics")]);
    assert!(allow.contains("\r\nallow: GET, HEAD\r\n"), "{allow}");
    // The head of HEAD is that of GET; and one connection takes both, and more.
    let both = format!("{url}/healthz");
    let output = curl(&[
        "--verbose",
        "--head",
        &both,
        "--next",
        "--silent",
        "--verbose",
        "--http1.1",
        "--include",
        &both,
    ]);
    let (said, told) = (output.stdout, String::from_utf8_lossy(&output.stderr).into_owned());
    let said = String::from_utf8(said).unwrap();
    assert_eq!(said.matches("content-length: 3\r\n").count(), 2, "{said}");
    assert!(said.ends_with("\r\n\r\nok\n"), "{said}");
    assert!(told.contains("Re-using existing connection"), "{told}");
    stop(running);
}

#[test]
fn old_clients_and_pipelines_get_their_answers() {
    let (running, _) = served(1);
    let admin = inet(&running.addrs()[1]);
    let exchange = |input: &str| {
        let mut stream = connect(admin);
        stream.write_all(input.as_bytes()).unwrap();
        let mut said = String::new();
        stream.read_to_string(&mut said).unwrap();
        said
    };
    let said = exchange("GET /healthz HTTP/1.0\r\n\r\n");
    assert!(said.contains("connection: close\r\n") && said.ends_with("\r\n\r\nok\n"), "{said}");
    let said = exchange(
        "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nHEAD /metrics HTTP/1.1\r\nHost: x\r\n\r\n\
         GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\nGET / HTTP/1.1\r\n\r\n",
    );
    assert_eq!(said.matches("HTTP/1.1 200 OK\r\n").count(), 3, "{said}");
    assert!(!said.contains("# TYPE") && said.ends_with("ok\n"), "{said}");
    for (input, status) in [
        ("nonsense\r\n\r\n".to_owned(), "400"),
        (format!("GET / HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "y".repeat(9000)), "431"),
    ] {
        let said = exchange(&input);
        assert!(said.starts_with(&format!("HTTP/1.1 {status} ")), "{said}");
        assert!(said.contains("connection: close\r\n"), "{said}");
    }
    stop(running);
}

#[test]
fn connections_that_are_too_many_or_too_slow_are_turned_away() {
    let meter = Meter::every(Duration::from_secs(3600));
    let mut server = simulated(move |shard| {
        meter.host(shard);
        Admin::new(&meter).listen(shard, TCP).map(drop)
    });
    let addr = server.addr(0);
    let connect = |server: &mainspring_testkit::SimServer| server.world().connect(&addr).unwrap();
    let mut idle: Vec<_> = (0..16).map(|_| connect(&server)).collect();
    eventually_sim(&mut server, PATIENCE, || idle.iter().all(|peer| peer.is_connected()));
    let mut late = connect(&server);
    let said = rest(&mut server, &mut late, PATIENCE);
    assert!(said.starts_with("HTTP/1.1 503 "), "{said}");
    let mut slow = idle.pop().unwrap();
    say(&mut server, &mut slow, b"GET /healthz HTT");
    let began = server.world().elapsed();
    let said = rest(&mut server, &mut slow, PATIENCE);
    assert!(said.starts_with("HTTP/1.1 408 "), "{said}");
    let took = server.world().elapsed() - began;
    assert!((Duration::from_secs(10)..Duration::from_secs(11)).contains(&took), "{took:?}");
    slow.close();
    let handle = server.handle().clone();
    eventually_sim(&mut server, PATIENCE, || handle.stats().total.connections == 15);
    // There is room again; and who says nothing for a minute has to go, without a word.
    let mut again = connect(&server);
    say(&mut server, &mut again, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
    let said = rest(&mut server, &mut again, Duration::from_secs(70));
    assert!(said.starts_with("HTTP/1.1 200 ") && said.ends_with("ok\n"), "{said}");
    let took = server.world().elapsed() - began;
    assert!(took >= Duration::from_secs(70), "{took:?}");
    assert_eq!(rest(&mut server, &mut idle[0], PATIENCE), "");
}

#[test]
fn health_says_that_a_server_drains() {
    let meter = Meter::every(Duration::from_secs(3600));
    let mut server = simulated(move |shard| {
        meter.host(shard);
        Admin::new(&meter).listen(shard, TCP).map(drop)
    });
    let mut peer = server.world().connect(&server.addr(0)).unwrap();
    // A request that has begun keeps the connection from being closed as done.
    say(&mut server, &mut peer, b"GET /healthz HTTP/1.1\r\nHo");
    let stats = server.handle().clone();
    eventually_sim(&mut server, PATIENCE, || stats.stats().total.bytes_in > 0);
    server.handle().drain();
    while server.turn_due() {}
    say(&mut server, &mut peer, b"st: x\r\n\r\n");
    let said = rest(&mut server, &mut peer, PATIENCE);
    assert!(said.starts_with("HTTP/1.1 503 ") && said.ends_with("draining\n"), "{said}");
    assert!(said.contains("connection: close\r\n"), "{said}");
}
