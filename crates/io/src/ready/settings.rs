//! Socket options, as the system takes them.

use crate::{Keepalive, SocketOptions};
use socket2::{SockRef, TcpKeepalive};
use std::io;
use std::time::Duration;

/// Whether an accepted socket has the options of its listener without being told.
///
/// Linux clones the listener's socket, options included (`inet_csk_clone_lock`), which saves a
/// system call per connection. Elsewhere not all of them are passed on.
pub(super) const INHERITED: bool = cfg!(target_os = "linux");

/// Sets every option; the first that the system refused is the error.
pub(super) fn apply(socket: &SockRef<'_>, options: &SocketOptions, is_tcp: bool) -> io::Result<()> {
    let mut outcome = Ok(());
    let mut set = |set: io::Result<()>| {
        if outcome.is_ok() {
            outcome = set;
        }
    };
    if is_tcp {
        set(socket.set_tcp_nodelay(options.nodelay.unwrap_or(true)));
        if let Some(keepalive) = &options.keepalive {
            set(socket.set_tcp_keepalive(&whole_seconds(keepalive)));
        }
    }
    if let Some(bytes) = options.recv_buffer {
        set(socket.set_recv_buffer_size(bytes));
    }
    if let Some(bytes) = options.send_buffer {
        set(socket.set_send_buffer_size(bytes));
    }
    if let Some(linger) = options.linger {
        set(socket.set_linger(Some(linger)));
    }
    outcome
}

/// The times in whole seconds, which is all that systems take; less than one would mean none.
fn whole_seconds(keepalive: &Keepalive) -> TcpKeepalive {
    let up =
        |time: Duration| Duration::from_secs(time.as_secs() + u64::from(time.subsec_nanos() > 0));
    let params =
        TcpKeepalive::new().with_time(up(keepalive.idle)).with_interval(up(keepalive.interval));
    #[cfg(not(any(target_os = "openbsd", target_os = "redox", target_os = "solaris")))]
    let params = params.with_retries(keepalive.count);
    params
}
