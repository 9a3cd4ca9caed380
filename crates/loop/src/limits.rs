//! Every limit of a server, with what happens at it.

use mainspring_io::DriverLimits;
use std::time::Duration;

/// The limits of one server. Each has a defined answer; none is "grow on".
///
/// Fields may be added: write `Limits { idle_timeout: .., ..Limits::default() }`.
///
/// Byte counts are of buffers that the loop holds for connections: replies not yet sent and input
/// not yet consumed.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Open connections of the whole server. One more is accepted and closed at once, counted as
    /// refused. Default: no limit but the descriptors.
    pub connections_max: usize,
    /// Input that a handler has left unconsumed on one connection. Beyond it the connection is
    /// closed with [`CloseReason::InputTooLong`](crate::CloseReason::InputTooLong). Default 1 MiB.
    pub input_max: usize,
    /// Unsent output of one connection above which the loop stops reading from it, so that a peer
    /// that does not read cannot make more work. Default 256 KiB.
    pub output_high: usize,
    /// Unsent output at which reading goes on and `on_drained` is called. Default 64 KiB.
    pub output_low: usize,
    /// Unsent output of one connection, bytes that the ring driver has under way included. Beyond
    /// it the connection is closed with
    /// [`CloseReason::SlowConsumer`](crate::CloseReason::SlowConsumer) and what is unsent is
    /// dropped. Default 64 MiB.
    pub output_max: usize,
    /// Buffered bytes of the whole server, shared out evenly among its loops. While a loop is over
    /// its share, a connection that buffers more than `output_low` is closed as a slow consumer.
    /// Default 1 GiB.
    pub memory_max: usize,
    /// Datagram bytes waiting for a full socket. One more datagram is dropped and counted. Default
    /// 4 MiB.
    pub datagrams_max: usize,
    /// Posts, sends and wakes from other threads waiting for one loop. One more answers
    /// [`Full`](crate::Full). Room for all of them is made at the start, so that
    /// 2^24 are the most. Default 8,192.
    pub inbox_max: usize,
    /// Bytes in the sends waiting for one loop. Beyond it a send answers [`Full`](crate::Full).
    /// Default 64 MiB.
    pub inbox_bytes_max: usize,
    /// Jobs waiting for the offload pool. One more answers [`Full`](crate::Full). Room for all of
    /// them is made at the start, so that 2^24 are the most; 0 lets no job in. Default 1,024.
    pub offload_max: usize,
    /// Threads of the offload pool, started as they are needed. Default 4.
    pub offload_threads: usize,
    /// Posts taken per turn, and timers fired per turn; the rest waits for the next turn, which
    /// does not sleep. Default 256.
    pub posts_per_turn: usize,
    /// What one turn takes from the driver.
    pub driver: DriverLimits,
    /// Time without a byte in either direction after which a connection is closed with
    /// [`CloseReason::IdleTimeout`](crate::CloseReason::IdleTimeout). Default `None`: an idle
    /// connection costs a few hundred bytes, and dead peers are found by TCP keep-alive. A
    /// connection may set its own. Counted in milliseconds, at least 1 and at most 2^32 - 1 (seven
    /// weeks). While a send waits, `write_timeout` holds in its place.
    pub idle_timeout: Option<Duration>,
    /// Time without progress of a waiting send after which a connection is closed with
    /// [`CloseReason::WriteTimeout`](crate::CloseReason::WriteTimeout). Default 30 s.
    pub write_timeout: Option<Duration>,
    /// Time in which an outgoing connection must be up. Default 10 s.
    pub dial_timeout: Duration,
    /// Time in which the layers of an accepted connection, or one put on later, must agree with the
    /// peer; for a dialled connection that is part of `dial_timeout`. Beyond it the connection is
    /// closed with [`CloseReason::HandshakeTimeout`](crate::CloseReason::HandshakeTimeout). Default
    /// 10 s.
    pub handshake_timeout: Duration,
    /// How long a closed connection waits for its peer's end of stream, so that the last reply is
    /// not destroyed by a reset when the peer is still sending. Default 2 s.
    pub linger: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: usize::MAX,
            input_max: 1 << 20,
            output_high: 256 << 10,
            output_low: 64 << 10,
            output_max: 64 << 20,
            memory_max: 1 << 30,
            datagrams_max: 4 << 20,
            inbox_max: 8192,
            inbox_bytes_max: 64 << 20,
            offload_max: 1024,
            offload_threads: 4,
            posts_per_turn: 256,
            driver: DriverLimits::default(),
            idle_timeout: None,
            write_timeout: Some(Duration::from_secs(30)),
            dial_timeout: Duration::from_secs(10),
            handshake_timeout: Duration::from_secs(10),
            linger: Duration::from_secs(2),
        }
    }
}

impl Limits {
    /// The longest queue whose room is made in advance.
    const QUEUE_MAX: usize = 1 << 24;

    /// Names the first rule that the limits break.
    pub(crate) fn check(&self) -> Result<(), &'static str> {
        let rules = [
            (self.output_low <= self.output_high, "output_low must not exceed output_high"),
            (self.output_high <= self.output_max, "output_high must not exceed output_max"),
            (self.output_max <= self.memory_max, "output_max must not exceed memory_max"),
            (self.inbox_max > 0, "inbox_max must be at least 1"),
            (self.inbox_max <= Self::QUEUE_MAX, "inbox_max must be at most 2^24"),
            (self.offload_max <= Self::QUEUE_MAX, "offload_max must be at most 2^24"),
            (self.posts_per_turn > 0, "posts_per_turn must be at least 1"),
            (self.offload_threads > 0, "offload_threads must be at least 1"),
            (self.driver.read_buffer > 0, "driver.read_buffer must be at least 1"),
        ];
        rules.iter().find(|(holds, _)| !holds).map_or(Ok(()), |(_, rule)| Err(rule))
    }
}

#[cfg(test)]
mod tests {
    use super::Limits;

    #[test]
    fn contradictions_are_named() {
        assert_eq!(Limits::default().check(), Ok(()));
        let crossed = Limits { output_low: 2, output_high: 1, ..Limits::default() };
        assert_eq!(crossed.check(), Err("output_low must not exceed output_high"));
    }
}
