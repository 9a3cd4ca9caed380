//! The driver contract, checked on the ring driver: with everything that this kernel offers, and
//! with what the oldest kernel offers that it runs on.

#![cfg(target_os = "linux")]

use mainspring_testkit::{OsHarness, PlainRing, Ring, driver_suite};

driver_suite!(ring, OsHarness<Ring>);
driver_suite!(plain, OsHarness<PlainRing>);
