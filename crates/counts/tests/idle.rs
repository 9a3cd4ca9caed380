//! `counts idle` as a program: it starts itself again, so it cannot be called as a function.
//! Resident memory is read on Linux only.
#![cfg(target_os = "linux")]

use std::process::Command;

fn idle(arguments: &[&str]) -> String {
    let program = env!("CARGO_BIN_EXE_counts");
    let output = Command::new(program).arg("idle").args(arguments).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

fn field(json: &str, name: &str) -> f64 {
    let (_, rest) = json.split_once(&format!("\"{name}\":")).unwrap_or_else(|| panic!("{json}"));
    rest.split([',', '}']).next().unwrap().parse().unwrap_or_else(|_| panic!("{name} of {json}"))
}

/// Less than a slot's size would mean that the connections are not weighed; with a buffer for each
/// connection it would be more.
#[test]
fn an_idle_connection_costs_the_loop_at_most_250_bytes() {
    let json = idle(&["--connections", "4000", "--seed", "3"]);
    assert_eq!(field(&json, "connections"), 4000.0, "{json}");
    let (whole, bare) = (field(&json, "bytes_each"), field(&json, "bare_bytes_each"));
    let of_loop = field(&json, "loop_bytes_each");
    assert!((100.0..=250.0).contains(&of_loop), "{json}");
    assert!((whole - bare - of_loop).abs() < 0.2, "{json}");
    let read = field(&json, "resident_after_bytes") - field(&json, "resident_before_bytes");
    assert!((read / 4000.0 - whole).abs() < 0.2, "{json}");
}

#[test]
fn one_side_alone_tells_its_readings() {
    let readings = idle(&["--only", "bare", "--connections", "1000"]);
    let (before, after) = readings.trim_end().split_once(' ').unwrap();
    assert!(before.parse::<u64>().unwrap() < after.parse::<u64>().unwrap(), "{readings}");
}
