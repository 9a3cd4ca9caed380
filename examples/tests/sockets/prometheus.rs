//! `prometheus`, by curl.

use crate::PATIENCE;
use crate::client::Client;
use crate::process::Example;
use std::process::Command;
use std::time::Instant;

fn curl(url: &str) -> String {
    let output =
        Command::new("curl").args(["--silent", "--fail", "--max-time", "20", url]).output();
    let output = output.expect("curl: run `cargo xtask test`, which installs it");
    assert!(output.status.success(), "{url}: {output:?}");
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn curl_reads_what_has_been_echoed() {
    let mut example = Example::start("prometheus", &["tcp://127.0.0.1:0", "tcp://127.0.0.1:0"]);
    // The first sample is taken at the start, and may be told before.
    let lines = std::iter::repeat_with(|| example.line());
    let line = lines.take(3).find(|line| line.contains(": listening on ")).expect("a ready line");
    let words: Vec<&str> = line.split([' ', ',']).collect();
    let at = words.iter().find_map(|word| word.parse().ok()).expect(&line);
    let url = words.iter().find(|word| word.starts_with("http://")).expect(&line);
    let mut client = Client::connect(at);
    client.send(&[7; 5000]);
    client.expect(&[7; 5000]);
    // All loops together: whichever has the connection.
    let received = || -> f64 {
        let page = curl(url);
        let samples = page.lines().filter_map(|line| {
            line.strip_prefix("mainspring_received_bytes_total{")?.split_once("} ")
        });
        samples.map(|(_, value)| value.parse::<f64>().expect("a number")).sum()
    };
    let until = Instant::now() + PATIENCE;
    while received() < 5000.0 {
        assert!(Instant::now() < until, "{} bytes", received());
    }
    assert_eq!(curl(&url.replace("/metrics", "/healthz")), "ok\n");
    assert!(example.line().starts_with("prometheus: "), "a sample a second is told");
    example.signal(rustix::process::Signal::TERM);
    assert!(example.wait().success());
}
