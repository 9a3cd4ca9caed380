//! Socket options, as the system takes them.

use crate::{Keepalive, Linger, SocketOptions};
use socket2::{SockRef, TcpKeepalive};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether an accepted socket has the options of its listener without being told.
///
/// Linux clones the listener's socket, options included (`inet_csk_clone_lock`), which saves a
/// system call per connection. Elsewhere not all of them are passed on.
pub(crate) const INHERITED: bool = cfg!(target_os = "linux");

/// Whether any socket of this process was told to linger. Sockets move between loops and inherit
/// options, so that none knows by itself, and hardly any process lingers at all.
static SOME_LINGER: AtomicBool = AtomicBool::new(false);

/// Sets every option; the first that the system refused is the error.
pub(crate) fn apply(socket: &SockRef<'_>, options: &SocketOptions, is_tcp: bool) -> io::Result<()> {
    let mut outcome = Ok(());
    let mut set = |set: io::Result<()>| {
        if outcome.is_ok() {
            outcome = set;
        }
    };
    if let Some(bytes) = options.recv_buffer {
        set(socket.set_recv_buffer_size(bytes));
    }
    if let Some(bytes) = options.send_buffer {
        set(socket.set_send_buffer_size(bytes));
    }
    if !is_tcp {
        return outcome;
    }
    set(socket.set_tcp_nodelay(options.nodelay.unwrap_or(true)));
    if let Some(keepalive) = options.keepalive {
        set(socket.set_tcp_keepalive(&probes(keepalive)));
    }
    if let Some(linger) = options.linger {
        SOME_LINGER.store(true, Ordering::Relaxed);
        set(socket.set_linger(linger.time()));
    }
    outcome
}

/// Keeps the close that follows from waiting.
///
/// Closing a socket that lingers waits until its bytes are acknowledged, even if the socket is
/// non-blocking, and the loop would wait with it. Where the system has it, the limit on
/// unacknowledged bytes (RFC 5482) says the same without anyone waiting.
pub(crate) fn linger_in_background(socket: &SockRef<'_>) {
    if !SOME_LINGER.load(Ordering::Relaxed) {
        return;
    }
    if let Ok(Some(time)) = socket.linger()
        && !time.is_zero()
    {
        let _ = socket.set_linger(Linger::Off.time());
        #[cfg(any(target_os = "linux", target_os = "android"))]
        let _ = socket.set_tcp_user_timeout(Some(time));
    }
}

fn probes(keepalive: Keepalive) -> TcpKeepalive {
    let keepalive = keepalive.in_whole_seconds();
    let mut probes = TcpKeepalive::new().with_time(keepalive.idle);
    if let Some(interval) = keepalive.interval {
        probes = probes.with_interval(interval);
    }
    #[cfg(not(any(target_os = "openbsd", target_os = "redox", target_os = "solaris")))]
    if let Some(count) = keepalive.count {
        probes = probes.with_retries(count);
    }
    probes
}
