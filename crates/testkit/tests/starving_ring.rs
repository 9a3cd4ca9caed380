//! D9 without descriptors, on the ring driver. One test, because the limit is the whole process's.

#![cfg(target_os = "linux")]

use mainspring_testkit::driver_suite::starving;
use mainspring_testkit::{OsHarness, PlainRing, Ring};

#[test]
fn d09_a_lack_of_descriptors_never_stops_a_listener() {
    starving::d09_a_lack_of_descriptors_pauses_accepting::<OsHarness<Ring>>();
    starving::d09_open_connections_are_served_while_accepting_rests::<OsHarness<Ring>>();
    starving::d09_open_connections_are_served_while_accepting_rests::<OsHarness<PlainRing>>();
}
