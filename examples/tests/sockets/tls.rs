//! `tls_echo`, judged by openssl.

use crate::process::{Example, fails};
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

#[test]
fn openssl_is_greeted_and_gets_its_lines_back() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tls");
    let address =
        format!("tls://127.0.0.1:0?cert={folder}/certificate.pem&key={folder}/key.pem&alpn=echo");
    let echo = Example::start("tls_echo", &[&address]);
    let mut command = Command::new("openssl");
    command.args(["s_client", "-quiet", "-verify_return_error", "-verify_hostname", "localhost"]);
    command.args(["-CAfile", &format!("{folder}/certificate.pem"), "-alpn", "echo"]);
    command.args(["-connect", &echo.ready_inet().to_string()]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut client = command.spawn().expect("openssl is installed by the tests");
    let mut input = client.stdin.take().expect("piped");
    let mut lines = BufReader::new(client.stdout.take().expect("piped")).lines();
    let mut next = || lines.next().and_then(Result::ok);
    let greeting = next();
    input.write_all(b"hello\n").expect("openssl reads");
    let back = next();
    client.kill().expect("it runs");
    client.wait().expect("a child of this process");
    let greeting = greeting.expect("a greeting");
    assert!(greeting.starts_with("TLS 1.3, TLS13_"), "{greeting}");
    assert_eq!(back.as_deref(), Some("hello"));
}

#[test]
fn a_certificate_that_is_not_there_is_named() {
    let said = fails("tls_echo", &["tls://127.0.0.1:0?cert=/nowhere.pem&key=/nowhere.key"]);
    assert!(said.contains("cannot listen on") && said.contains("/nowhere.pem"), "{said}");
    let said = fails("tls_echo", &["tcp://127.0.0.1:0"]);
    assert!(said.contains("not tls://"), "{said}");
}
