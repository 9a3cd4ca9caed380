//! The driver contract, checked on the ready driver with everything that this system offers.

use mainspring_testkit::{OsHarness, Ready, driver_suite};

driver_suite!(ready, OsHarness<Ready>);
