//! D9 without descriptors. Apart from the others, because in an operating system the lack of them
//! is the whole process's.

use crate::Bed;
use crate::harness::Starve;
use mainspring_io::Driver;
use std::time::Duration;

/// D9: "accepting pauses with back-off, each failure is reported by `accept_failed`, and accepting
/// resumes within a second of relief."
pub fn d09_a_lack_of_descriptors_pauses_accepting<H: Starve>() {
    let mut bed = Bed::<H>::new();
    let (listener, at) = bed.listen();
    let peer = bed.harness.dial(&at);
    bed.harness.starve(true);
    bed.until_event(listener, "accept_failed");
    let start = bed.driver().now();
    let before = bed.record.count(listener, "accept_failed");
    while bed.driver().now() - start < Duration::from_secs(1) {
        bed.turn();
    }
    let failures = bed.record.count(listener, "accept_failed") - before;
    assert!((1..200).contains(&failures), "{failures} attempts in a second is no back-off");
    assert!(!bed.record.has(listener, "accepted") && !bed.record.has(listener, "closed"));
    bed.harness.starve(false);
    let relief = bed.driver().now();
    bed.until_event(listener, "accepted");
    let resumed = bed.driver().now() - relief;
    assert!(resumed <= Duration::from_millis(1100), "resumed only after {resumed:?}");
    drop(peer);
}

/// D9: connections that are open are served while accepting rests.
pub fn d09_open_connections_are_served_while_accepting_rests<H: Starve>() {
    let mut bed = Bed::<H>::new();
    let (key, mut peer) = bed.conn();
    let (listener, at) = bed.listen();
    let waiting = bed.harness.dial(&at);
    bed.harness.starve(true);
    bed.until_event(listener, "accept_failed");
    bed.say(&mut peer, b"still served");
    bed.until("data", |bed| bed.record.data(key) == b"still served");
    bed.harness.starve(false);
    bed.until_event(listener, "accepted");
    drop(waiting);
}
