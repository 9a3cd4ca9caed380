//! Addresses that are taken, perhaps for a moment only.

use std::io::{self, ErrorKind};
use std::time::Duration;

const TRIES: usize = 20;
const BETWEEN_TRIES: Duration = Duration::from_millis(10);

/// Opens a socket at an address; one that is taken is tried again for a fifth of a second.
///
/// What a killed process has left in an io_uring, the kernel ends a little later than the process,
/// and with it the sockets that were accepting or receiving. Whoever starts a server again at once
/// is to get its address.
pub(crate) fn open_when_free<T>(open: impl Fn() -> io::Result<T>) -> io::Result<T> {
    for _ in 1..TRIES {
        match open() {
            Err(error) if cfg!(target_os = "linux") && error.kind() == ErrorKind::AddrInUse => {
                pause();
            }
            other => return other,
        }
    }
    open()
}

#[expect(clippy::disallowed_methods, reason = "only where an address is taken, before a loop runs")]
fn pause() {
    std::thread::sleep(BETWEEN_TRIES);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[test]
    fn a_taken_address_is_tried_again_and_nothing_else_is() {
        let tries = Cell::new(0);
        let fails_with = |kind: ErrorKind, times: usize| {
            tries.set(0);
            open_when_free(|| {
                tries.set(tries.get() + 1);
                if tries.get() <= times { Err(io::Error::from(kind)) } else { Ok(()) }
            })
        };
        let taken = if cfg!(target_os = "linux") { TRIES } else { 1 };
        assert!(fails_with(ErrorKind::AddrInUse, usize::MAX).is_err());
        assert_eq!(tries.get(), taken);
        assert_eq!(fails_with(ErrorKind::AddrInUse, 2).is_ok(), taken > 1);
        assert!(fails_with(ErrorKind::PermissionDenied, 2).is_err());
        assert_eq!(tries.get(), 1);
    }
}
