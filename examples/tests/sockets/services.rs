//! `services`: how a run of several services ends.

use crate::PATIENCE;
use crate::client::Client;
use crate::process::{Example, fails};
use rustix::process::Signal;
use std::io::Read;
use std::time::{Duration, Instant};

fn start(more: &[&str]) -> Example {
    Example::start("services", &[&["tcp://127.0.0.1:0"], more].concat())
}

#[test]
fn both_signals_drain_everything_in_order_and_end_with_code_0() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut example = start(&[]);
        let mut client = Client::connect(example.ready_inet());
        assert_eq!(example.line(), "services: started");
        client.send(b"served");
        client.expect(b"served");
        example.signal(signal);
        assert_eq!(example.wait().code(), Some(0), "{signal:?}");
        assert_eq!(client.rest(), b"");
        assert_eq!(example.line(), "services: counted 0");
        assert_eq!(example.line(), "services: stopped", "after the last service has ended");
    }
}

#[test]
fn a_failure_or_a_panic_of_one_service_stops_the_others() {
    for (temper, wanted) in [
        ("fail", "services: counter failed: the counter is broken\n"),
        ("panic", "services: counter panicked: the counter is out of order\n"),
    ] {
        let said = fails("services", &["tcp://127.0.0.1:0", temper]);
        assert!(said.ends_with(wanted), "{said}");
    }
}

#[test]
fn a_port_that_is_taken_is_a_failure_and_nothing_else_starts() {
    let example = start(&[]);
    let taken = format!("tcp://{}", example.ready_inet());
    let said = fails("services", &[&taken, "panic"]);
    assert!(said.starts_with("services: echo cannot start: cannot listen on"), "{said}");
    assert!(!said.contains("out of order"), "{said}");
}

#[test]
fn a_second_signal_and_the_deadline_do_not_wait_for_who_does_not_stop() {
    for (second, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let mut example = start(&["stubborn"]);
        let mut client = Client::connect(example.ready_inet());
        assert_eq!(example.line(), "services: started");
        example.signal(Signal::TERM);
        // The server has ended, the job has not.
        assert_eq!(client.0.read(&mut [0; 1]).unwrap_or(0), 0);
        example.signal(second);
        assert_eq!(example.wait().code(), Some(code));
    }
    let mut example = start(&["stubborn", "1"]);
    assert_eq!(example.ready_inet().ip().to_string(), "127.0.0.1");
    assert_eq!(example.line(), "services: started");
    let asked = Instant::now();
    example.signal(Signal::TERM);
    assert_eq!(example.wait().code(), Some(1), "the deadline is a failure");
    assert!((Duration::from_secs(1)..PATIENCE).contains(&asked.elapsed()));
}
