//! The driver contract, checked on the ready driver with portable system calls only.

use mainspring_testkit::{OsHarness, Portable, driver_suite};

driver_suite!(portable, OsHarness<Portable>);
