//! Command lines that cannot be, and what help says.

use crate::process::{Folder, Program, mainspring, run};
use std::net::TcpListener;

/// Exit code, and stderr.
fn refused(arguments: &[&str]) -> (Option<i32>, String) {
    let output = run(&mut mainspring(arguments));
    assert_eq!(output.stdout, b"", "{arguments:?}");
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn what_is_wrong_is_named_with_what_is_allowed() {
    let table: [(&[&str], &[&str]); 21] = [
        (&["telnet"], &["telnet", "--help"]),
        (&["echo", "--wrong"], &["--wrong"]),
        (&["echo", "--port", "70000"], &["70000", "65535"]),
        (&["echo", "--port", "x"], &["'x'", "--port"]),
        (&["echo", "--listen", "foo://x"], &["foo", "tcp, tcp4, tcp6, tls, udp, udp4, udp6, unix"]),
        (&["echo", "--listen", "tcp://:99999"], &["99999", "65535"]),
        (&["echo", "--listen", "tcp://:1?color=red"], &["color", "reuseport"]),
        (&["echo", "--listen", "tcp://:1?reuseport=maybe"], &["maybe", "true"]),
        (&["redis", "--listen", "udp://:1"], &["udp://:1", "tcp, tcp4, tcp6, tls, unix"]),
        (&["http", "--balance", "fair"], &["fair", "least-connections"]),
        (&["http", "--driver", "epoll"], &["epoll", "portable"]),
        (&["http", "--loops", "-1"], &["-1"]),
        (&["http", "--loops=many"], &["many", "auto"]),
        (&["http", "--idle-timeout", "5"], &["'5'", "500ms"]),
        (&["load", "udp://127.0.0.1:1"], &["tcp, tcp4, tcp6, tls, unix"]),
        (&["load", "--clients", "0"], &["'0'", "1..=1000000"]),
        (&["load", "--payload", "300", "--framing", "u8"], &["300", "255"]),
        (&["load", "--framing", "xml"], &["xml", "varint"]),
        (&["load", "--rate", "-1"], &["-1"]),
        (&["load", "--sends", "1", "--duration", "1s"], &["--sends", "--duration"]),
        (&["redis", "--output-max", "2g", "--memory-max", "1g"], &["output_max", "memory_max"]),
    ];
    for (arguments, named) in table {
        let (code, stderr) = refused(arguments);
        assert_eq!(code, Some(2), "{arguments:?}: {stderr}");
        for name in named {
            assert!(stderr.contains(name), "{arguments:?} does not name {name:?}: {stderr}");
        }
    }
}

#[test]
fn an_address_that_is_taken_is_named_and_nothing_is_left_half_started() {
    let folder = Folder::new("taken");
    let socket = folder.join("free.sock");
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = format!("tcp://{}", held.local_addr().unwrap());
    for loops in ["1", "3"] {
        let unix = format!("unix://{socket}");
        let arguments =
            ["echo", "--loops", loops, "--listen", &unix, "--listen", &taken, "--log", "error"];
        let (code, stderr) = refused(&arguments);
        assert_eq!(code, Some(1), "{stderr}");
        assert!(stderr.contains(&taken) && stderr.contains("in use"), "{stderr}");
        assert!(!std::path::Path::new(&socket).exists(), "the socket of the other address is left");
    }
}

#[test]
fn a_file_in_the_place_of_a_unix_socket_is_not_touched() {
    let folder = Folder::new("precious");
    let path = folder.join("precious");
    std::fs::create_dir(&path).unwrap();
    std::fs::write(folder.join("precious/file"), "data").unwrap();
    for place in [&path, &folder.join("precious/file")] {
        let (code, stderr) = refused(&["echo", "--listen", &format!("unix://{place}")]);
        assert_eq!(code, Some(1), "{stderr}");
        assert!(stderr.contains(place.as_str()), "{stderr}");
    }
    assert_eq!(std::fs::read(folder.join("precious/file")).unwrap(), b"data");
}

#[test]
fn help_has_examples_and_every_default() {
    let help = |program: &str| {
        let output = run(&mut mainspring(&[program, "--help"]));
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap()
    };
    for (program, port) in [("echo", "5000"), ("redis", "6380"), ("http", "8080")] {
        let text = help(program);
        for part in
            ["Examples:", port, "--drain", "[default: 5s]", "--idle-timeout", "--output-max"]
        {
            assert!(text.contains(part), "{program}: {part:?} is missing in {text}");
        }
    }
    assert!(help("http").contains("--header-timeout"));
    let text = help("load");
    for part in ["Examples:", "Exit codes:", "[default: 512]", "--rate", "u32-be"] {
        assert!(text.contains(part), "load: {part:?} is missing in {text}");
    }
    let output = run(&mut mainspring(&["--help"]));
    assert!(String::from_utf8(output.stdout).unwrap().contains("Exit codes:"));
}

#[test]
fn the_first_line_names_every_bound_address_and_the_log_the_loops() {
    let folder = Folder::new("ready");
    let socket = folder.join("s.sock");
    let program = Program::start(&[
        "echo",
        "--listen",
        "tcp://127.0.0.1:0",
        "--listen",
        "udp4://127.0.0.1:0",
        "--unix",
        &socket,
        "--loops",
        "2",
    ]);
    let [tcp, udp, unix] = &*program.addresses else { panic!("{:?}", program.addresses) };
    assert!(tcp.starts_with("tcp://127.0.0.1:") && !tcp.ends_with(":0"), "{tcp}");
    assert!(udp.starts_with("udp4://127.0.0.1:") && !udp.ends_with(":0"), "{udp}");
    assert_eq!(*unix, format!("unix://{socket}"));
    let log = program.stop();
    assert!(log.contains("loops: 2"), "{log}");
    assert!(!std::path::Path::new(&socket).exists());
}

#[test]
fn options_of_addresses_balances_and_drivers_are_taken() {
    for balance in ["kernel", "random", "round-robin", "least-connections", "source-hash"] {
        for driver in ["auto", "ready", "portable"] {
            let program = Program::start(&[
                "echo",
                "--listen",
                "tcp://127.0.0.1:0?keepalive=5s&backlog=10",
                "--pin",
                "--loops",
                "2",
                "--reuseport",
                "--balance",
                balance,
                "--driver",
                driver,
            ]);
            assert_eq!(crate::raw::exchange(program.addr(), b"hello"), b"hello");
            program.stop();
        }
    }
}
