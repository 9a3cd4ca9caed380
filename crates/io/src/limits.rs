//! How much one turn of a driver may take in.

/// The budget of one [`poll`](crate::Driver::poll): what is left over is served by the next one,
/// which then does not sleep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DriverLimits {
    /// Events taken from the kernel by one system call. Default 256.
    pub events_per_turn: usize,
    /// Bytes delivered before replies get their chance to leave. Default 256 KiB: more would
    /// push the replies out of the processor's cache before they are sent.
    pub bytes_per_turn: usize,
    /// Connections accepted before those already open are served. Default 64.
    pub accepts_per_turn: usize,
    /// Size of the one read buffer that all connections of a loop share. Default 256 KiB: long
    /// messages take a quarter less processor time than with 64 KiB, and short ones touch only its
    /// front.
    pub read_buffer: usize,
}

impl Default for DriverLimits {
    fn default() -> Self {
        Self {
            events_per_turn: 256,
            bytes_per_turn: 256 * 1024,
            accepts_per_turn: 64,
            read_buffer: 256 * 1024,
        }
    }
}
