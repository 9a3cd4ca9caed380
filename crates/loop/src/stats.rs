//! What a loop counts, readable from any thread.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A figure with one writer, its loop. Written without a locked instruction, read by anyone.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, count: u64) {
        self.set(self.get() + count);
    }

    pub(crate) fn take(&self, count: u64) {
        self.set(self.get() - count);
    }

    pub(crate) fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

macro_rules! loop_stats {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// A snapshot of what one loop, or all loops together, have counted since the start.
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct LoopStats {
            $($(#[$doc])* pub $name: u64,)*
            /// The longest turn: from the return of `poll` until the loop was ready to sleep again.
            pub longest_turn: Duration,
        }

        /// The live figures behind [`LoopStats`].
        #[derive(Debug, Default)]
        pub(crate) struct LoopCounters {
            $(pub(crate) $name: Counter,)*
            pub(crate) longest_turn_ns: Counter,
        }

        impl LoopCounters {
            pub(crate) fn snapshot(&self) -> LoopStats {
                LoopStats {
                    $($name: self.$name.get(),)*
                    longest_turn: Duration::from_nanos(self.longest_turn_ns.get()),
                }
            }
        }

        impl LoopStats {
            fn add(&mut self, other: &Self) {
                $(self.$name += other.$name;)*
                self.longest_turn = self.longest_turn.max(other.longest_turn);
            }
        }
    };
}

loop_stats! {
    /// Connections open now.
    connections,
    /// The most connections open at one time. In a total it is that of the whole server, those that
    /// were being opened included, and not the sum of the loops' peaks.
    connections_peak,
    /// Connections accepted and handed to a handler.
    accepted,
    /// Outgoing connections that came up.
    dialled,
    /// Connections turned away: by `Opened::Refuse`, by `Limits::connections_max`, or while
    /// stopping.
    refused,
    /// Connections that ended after they had been accepted or dialled.
    closed,
    /// Connections that ended before their layers were open.
    handshakes_failed,
    /// Failed attempts to accept, of which lack of descriptors is the usual reason.
    accept_errors,
    /// Bytes received from connections.
    bytes_in,
    /// Bytes that connections have sent.
    bytes_out,
    /// Bytes that layers took from the wire; part of `bytes_in`.
    layer_wire_in,
    /// Bytes that layers handed up to handlers in exchange.
    layer_plain_in,
    /// Bytes of handlers that layers took over.
    layer_plain_out,
    /// Bytes that layers gave to the wire in exchange.
    layer_wire_out,
    /// Bytes passed on by `Conn::forward` without a copy.
    bytes_forwarded,
    /// Deliveries of bytes to handlers.
    deliveries,
    /// Send orders given to the driver for connections.
    sends,
    /// Datagrams received.
    datagrams_in,
    /// Datagrams sent.
    datagrams_out,
    /// Unsent bytes dropped because their connection was closed as a slow consumer.
    dropped_slow_bytes,
    /// Unsent bytes dropped because their connection ended for another reason.
    dropped_closed_bytes,
    /// Received bytes dropped because this side had already closed the connection.
    dropped_input_bytes,
    /// Sends from other threads that came too late for their connection.
    dropped_sends,
    /// Datagrams dropped because `Limits::datagrams_max` was reached.
    dropped_datagrams_full,
    /// Datagrams that the system refused to send, or that still waited when their socket closed.
    dropped_datagrams_refused,
    /// Events that a driver delivered for a connection that was gone.
    stale_events,
    /// Callbacks that panicked.
    panics,
    /// Returns from the driver's `poll`.
    wakeups,
    /// Turns in which anything happened.
    turns,
    /// Bytes buffered now for connections: unsent output and unconsumed input.
    buffered_bytes,
}

/// A snapshot of a whole server.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ServerStats {
    /// All loops together; `longest_turn` is the longest of any.
    pub total: LoopStats,
    /// Loop by loop.
    pub loops: Vec<LoopStats>,
}

impl ServerStats {
    pub(crate) fn of(loops: Vec<LoopStats>, connections_peak: usize) -> Self {
        let mut total = LoopStats::default();
        loops.iter().for_each(|stats| total.add(stats));
        total.connections_peak = connections_peak as u64;
        Self { total, loops }
    }
}

/// What one connection has seen, kept by its loop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnStats {
    /// Bytes received from the socket.
    pub bytes_in: u64,
    /// Bytes handed to the kernel for good.
    pub bytes_out: u64,
    /// Bytes received for the handler: `bytes_in`, save where layers made other bytes of them.
    pub plain_in: u64,
    /// Bytes of the handler's that were sent: `bytes_out`, save where layers made other bytes of
    /// them. With layers exact when nothing is unsent.
    pub plain_out: u64,
}
