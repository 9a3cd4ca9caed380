//! The programs over TLS, judged by curl, redis-cli and openssl.

use crate::process::{Folder, Program, content, mainspring, run};
use rustix::process::Signal;
use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A certificate for `localhost` that vouches for itself, made by openssl: its file, its key's.
pub(crate) fn certificate(folder: &Folder, name: &str) -> (String, String) {
    certificate_as(folder, name, "TRUE")
}

/// Whether it may vouch for others: OpenSSL asks for that at the top, rustls forbids it at the
/// bottom.
fn certificate_as(folder: &Folder, name: &str, is_authority: &str) -> (String, String) {
    let (cert, key) = (folder.join(&format!("{name}.pem")), folder.join(&format!("{name}.key")));
    let mut command = Command::new("openssl");
    command.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]);
    command.args(["-nodes", "-days", "2", "-subj", &format!("/CN={name}")]);
    command.args(["-addext", "subjectAltName=DNS:localhost,DNS:other.example"]);
    command.args(["-addext", &format!("basicConstraints=critical,CA:{is_authority}")]);
    content(command.args(["-keyout", &key, "-out", &cert]));
    (cert, key)
}

fn start(program: &str, cert: &str, key: &str, more: &[&str]) -> Program {
    let mut arguments = vec![program, "--listen", "tcp://127.0.0.1:0"];
    arguments.extend(["--tls-cert", cert, "--tls-key", key]);
    arguments.extend(more);
    Program::start(&arguments)
}

fn curl(program: &Program, cert: &str, more: &[&str]) -> Command {
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--max-time", "20", "--cacert", cert]).args(more);
    command.args(["--resolve", &format!("localhost:{}:127.0.0.1", program.port())]);
    command.arg(format!("https://localhost:{}/", program.port()));
    command
}

/// The name in the certificate that is shown.
fn shown(program: &Program) -> String {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-connect", &program.addr().to_string()]);
    let output = run(command.stdin(Stdio::null()));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let subject = text.lines().find_map(|line| line.strip_prefix("subject="));
    subject.unwrap_or_else(|| panic!("{text}")).replace(' ', "")
}

#[test]
fn curl_gets_the_page_over_both_versions() {
    let folder = Folder::new("tls-http");
    let (cert, key) = certificate(&folder, "one");
    let program = start("http", &cert, &key, &["--loops", "2"]);
    assert!(program.addresses[0].starts_with("tls://"), "{:?}", program.addresses);
    for version in [&["--tls-max", "1.2"][..], &["--tlsv1.3"]] {
        assert_eq!(content(&mut curl(&program, &cert, version)), "Hello World!\r\n");
    }
    let (other, _) = certificate(&folder, "two");
    let refused = run(&mut curl(&program, &other, &[]));
    assert_eq!(refused.status.code(), Some(60), "curl trusts a stranger");
    program.stop();
}

#[test]
fn redis_cli_over_tls_with_a_client_certificate() {
    let folder = Folder::new("tls-redis");
    let (cert, key) = certificate(&folder, "one");
    let (mine, my_key) = certificate_as(&folder, "client", "FALSE");
    let program = start("redis", &cert, &key, &["--tls-client-ca", &mine]);
    let redis_cli = |identity: &[&str], arguments: &[&str]| {
        let mut command = Command::new("redis-cli");
        command.args(["-p", &program.port(), "--tls", "--sni", "localhost", "--cacert", &cert]);
        command.args(identity).args(arguments);
        command
    };
    let me = ["--cert", &mine, "--key", &my_key];
    assert_eq!(content(&mut redis_cli(&me, &["set", "key", "a value"])), "OK\n");
    assert_eq!(content(&mut redis_cli(&me, &["get", "key"])), "a value\n");
    let nobody = run(&mut redis_cli(&[], &["get", "key"]));
    let said = String::from_utf8_lossy(&nobody.stdout);
    assert!(!said.contains("a value"), "served without a certificate");
    program.stop();
}

#[test]
fn echo_over_an_address_that_names_its_files_beside_a_plain_one() {
    let folder = Folder::new("tls-echo");
    let (cert, key) = certificate(&folder, "one");
    let address = format!("tls://127.0.0.1:0?cert={cert}&key={key}");
    let program = Program::start(&["echo", "--listen", &address, "--listen", "tcp://127.0.0.1:0"]);
    assert!(program.addresses[0].starts_with("tls://"), "{:?}", program.addresses);
    assert!(program.addresses[1].starts_with("tcp://"), "{:?}", program.addresses);
    let mut command = Command::new("openssl");
    command.args(["s_client", "-quiet", "-verify_return_error", "-verify_hostname", "localhost"]);
    command.args(["-CAfile", &cert, "-connect", &program.addr().to_string()]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut client = command.spawn().unwrap();
    let sent = [&[b'x'; 100_000][..], b"\n"].concat();
    let (mut input, said) = (client.stdin.take().unwrap(), sent.clone());
    let writer = std::thread::spawn(move || input.write_all(&said).map(|()| input));
    let mut back = vec![0; sent.len()];
    let output = client.stdout.as_mut().unwrap();
    let read = output.read_exact(&mut back);
    client.kill().unwrap();
    client.wait().unwrap();
    read.unwrap();
    assert!(back == sent, "other bytes came back");
    assert!(writer.join().unwrap().is_ok());
    program.stop();
}

#[test]
fn certificates_change_on_a_signal_and_by_themselves() {
    let folder = Folder::new("tls-reload");
    let (cert, key) = certificate(&folder, "one");
    let program = start("echo", &cert, &key, &[]);
    assert_eq!(shown(&program), "CN=one");
    let replace = |name: &str| {
        let (new, new_key) = certificate(&folder, name);
        std::fs::rename(new_key, &key).unwrap();
        std::fs::rename(new, &cert).unwrap();
    };
    let eventually = |wanted: &str| {
        let until = Instant::now() + Duration::from_secs(20);
        while shown(&program) != wanted {
            assert!(Instant::now() < until, "{wanted} is not shown");
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    replace("two");
    program.signal(Signal::HUP);
    eventually("CN=two");
    replace("three");
    eventually("CN=three");
    std::fs::write(&cert, "broken").unwrap();
    program.signal(Signal::HUP);
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(shown(&program), "CN=three", "a broken file changes nothing");
    let log = program.stop();
    assert!(log.contains("the old certificates stay"), "{log}");
    assert!(log.contains("no CERTIFICATE section"), "{log}");
}

#[test]
fn what_cannot_be_is_said_at_the_start() {
    let folder = Folder::new("tls-wrong");
    let (cert, key) = certificate(&folder, "one");
    let (_, other) = certificate(&folder, "two");
    let twice = [&["--tls-cert", &cert, "--tls-cert", &cert, "--tls-key", &key][..]].concat();
    let none = folder.join("none.pem");
    let cases: &[(&[&str], i32, &str)] = &[
        (&["--tls-cert", &cert], 2, "--tls-key"),
        (&twice, 2, "give each certificate its key"),
        (&["--tls-cert", &cert, "--tls-key", &other], 1, "does not belong"),
        (&["--tls-cert", &none, "--tls-key", &key], 1, "none.pem"),
        (&["--tls-cert", &key, "--tls-key", &key], 1, "no CERTIFICATE section"),
        (&["--listen", "tls://127.0.0.1:0"], 2, "--tls-cert"),
    ];
    for (arguments, code, word) in cases {
        let output = run(&mut mainspring(&[&["echo", "--port", "0"], *arguments].concat()));
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(*code), "{arguments:?}: {said}");
        assert!(said.contains(word), "{arguments:?}: {said}");
    }
}
