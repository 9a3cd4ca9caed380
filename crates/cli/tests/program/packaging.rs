//! What is shipped beside the program fits the program.

use crate::process::Program;
use crate::raw::exchange;
use std::path::Path;

#[test]
fn the_command_of_the_systemd_unit_serves_and_ends_in_good_order() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging");
    let unit = std::fs::read_to_string(folder.join("mainspring-echo.service")).unwrap();
    let mut lines = unit.lines().filter_map(|line| line.strip_prefix("ExecStart="));
    let command: Vec<String> = lines
        .next()
        .expect("a command")
        .split(' ')
        // Any port: another test, or a real server, may have that one.
        .map(|word| word.replace(":5000", ":0"))
        .collect();
    assert_eq!(lines.next(), None);
    assert_eq!(command[0], "/usr/bin/mainspring");
    let arguments: Vec<&str> = command[1..].iter().map(String::as_str).collect();
    let program = Program::start(&arguments);
    assert_eq!(exchange(program.addr(), b"hello"), b"hello");
    program.stop();
    for setting in ["Restart=on-failure", "RestartSec=30"] {
        assert!(unit.lines().any(|line| line == setting), "{setting} is missing");
    }
}
