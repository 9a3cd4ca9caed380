//! The driver contract, checked on the simulated driver: calm, and with every harmless fault under
//! many seeds.

use mainspring_testkit::driver_suite::starving;
use mainspring_testkit::{Calm, Rough, SimHarness, driver_suite};

driver_suite!(calm, SimHarness<Calm>);
driver_suite!(rough, SimHarness<Rough>, each_seed);

#[test]
fn d09_a_lack_of_descriptors_pauses_accepting() {
    starving::d09_a_lack_of_descriptors_pauses_accepting::<SimHarness<Calm>>();
    each_seed(starving::d09_a_lack_of_descriptors_pauses_accepting::<SimHarness<Rough>>);
}

#[test]
fn d09_open_connections_are_served_while_accepting_rests() {
    starving::d09_open_connections_are_served_while_accepting_rests::<SimHarness<Calm>>();
    each_seed(starving::d09_open_connections_are_served_while_accepting_rests::<SimHarness<Rough>>);
}

fn each_seed(body: fn()) {
    for seed in 0..SEEDS {
        Rough::with_seed(seed, body);
    }
}

const SEEDS: u64 = 12;
