//! The ring driver, with the best that the kernel has and with what it has had longest.
#![cfg(target_os = "linux")]

mod both;

mod under_test {
    use mainspring_io::{DriverLimits, RingDriver, RingUnavailable};

    pub(crate) type Driver = RingDriver;
    pub(crate) const OPENERS: [fn(DriverLimits) -> Result<RingDriver, RingUnavailable>; 2] =
        [RingDriver::new, RingDriver::plain];
    /// Whether the kernel works for the driver between its calls.
    pub(crate) const COMPLETES_LATER: bool = true;
}
