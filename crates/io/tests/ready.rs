//! The ready driver, with the best system calls and with portable ones.

mod both;

mod under_test {
    use mainspring_io::{DriverLimits, ReadyDriver};

    pub(crate) type Driver = ReadyDriver;
    pub(crate) const OPENERS: [fn(DriverLimits) -> std::io::Result<ReadyDriver>; 2] =
        [ReadyDriver::new, ReadyDriver::portable];
    /// Whether the kernel works for the driver between its calls.
    pub(crate) const COMPLETES_LATER: bool = false;
}
