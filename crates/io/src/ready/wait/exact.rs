//! epoll's own wait, on the descriptor that mio registers sockets with.

use super::Told;
use crate::ready::table::State;
use mio::{Poll, Token};
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use std::fmt;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;
use std::time::Duration;

/// So many milliseconds fit into the `int` of the older call.
const LONGEST_COARSE: Duration = Duration::from_millis(i32::MAX as u64);

/// Waits to the nanosecond, as long as the kernel lets it.
pub(super) struct Waiter {
    events: Vec<epoll::Event>,
    /// The kernel has epoll_pwait2(2), as far as is known.
    fine: bool,
}

impl Waiter {
    pub(super) fn new(capacity: usize) -> Self {
        Self { events: Vec::with_capacity(capacity.max(1)), fine: true }
    }

    #[inline(always)]
    pub(super) fn wait(&mut self, poller: &Poll, timeout: Option<Duration>) -> io::Result<()> {
        // SAFETY: it is the descriptor of the poller, which lives as long as the borrow.
        let epoll = unsafe { BorrowedFd::borrow_raw(poller.as_raw_fd()) };
        self.events.clear();
        // Without a sleep to measure out the older call does, which more tools know.
        if let Some(timeout) = timeout.filter(|timeout| self.fine && !timeout.is_zero()) {
            match self.wait_fine(epoll, timeout) {
                Err(error) if is_missing(&error) => self.fine = false,
                outcome => return outcome,
            }
        }
        self.wait_coarse(epoll, timeout)
    }

    pub(super) fn len(&self) -> usize {
        self.events.len()
    }

    #[inline(always)]
    pub(super) fn told(&self, index: usize) -> Told {
        use epoll::EventFlags as Flags;
        let event = self.events[index];
        let flags = event.flags;
        // The usual event has an answer of its own: something has come, and there is room to send.
        let state = if flags == Flags::IN | Flags::OUT {
            State::READABLE.and(State::WRITABLE)
        } else {
            State::told(
                flags.intersects(Flags::IN | Flags::PRI),
                flags.intersects(Flags::HUP) || flags.contains(Flags::IN | Flags::RDHUP),
                flags.intersects(Flags::OUT | Flags::HUP),
                flags.intersects(Flags::ERR),
            )
        };
        Told { token: Token(event.data.u64() as usize), state }
    }

    #[inline(never)]
    fn wait_fine(&mut self, epoll: BorrowedFd<'_>, timeout: Duration) -> io::Result<()> {
        let timeout = timespec(timeout);
        // SAFETY: the kernel writes at most `capacity` events into the vector's memory, reads the
        // timeout, and is given no signal mask; both outlive the call.
        let count = unsafe {
            libc::syscall(
                libc::SYS_epoll_pwait2,
                epoll.as_raw_fd(),
                self.events.as_mut_ptr(),
                self.events.capacity() as libc::c_int,
                ptr::from_ref(&timeout),
                ptr::null::<libc::sigset_t>(),
                0_usize,
            )
        };
        let count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
        // SAFETY: the kernel has filled the first `count` events, and had room for no more than the
        // capacity.
        unsafe { self.events.set_len(count) };
        Ok(())
    }

    /// Sleeps are whole milliseconds, rounded up: not too short.
    #[inline(always)]
    fn wait_coarse(&mut self, epoll: BorrowedFd<'_>, timeout: Option<Duration>) -> io::Result<()> {
        let timeout = timeout.map(|timeout| timespec(timeout.min(LONGEST_COARSE)));
        epoll::wait(epoll, spare_capacity(&mut self.events), timeout.as_ref())?;
        Ok(())
    }
}

impl fmt::Debug for Waiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a wait that told {} events", self.len())
    }
}

fn timespec(timeout: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: timeout.subsec_nanos().into(),
    }
}

/// Whether the call itself is not to be had: the kernel is older, or a sandbox forbids it.
fn is_missing(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM))
}

#[cfg(test)]
mod tests {
    use super::super::Events;
    use super::*;
    use mio::net::UnixStream;
    use mio::{Interest, Waker};
    use std::io::Write;
    use std::net::Shutdown;
    use std::time::Instant;

    /// What mio makes of the events of a socket, both waits tell, the fine one and the coarse one.
    #[test]
    fn tells_what_mio_tells() {
        type Provoke = fn(UnixStream) -> Option<UnixStream>;
        let provocations: [(&str, Provoke); 4] = [
            ("nothing", Some),
            ("bytes", |mut peer| {
                peer.write_all(b"bytes").unwrap();
                Some(peer)
            }),
            ("an end", |peer| {
                peer.shutdown(Shutdown::Write).unwrap();
                Some(peer)
            }),
            ("a close", |peer| {
                drop(peer);
                None
            }),
        ];
        for (what, provoke) in provocations {
            let told = [true, false].map(|fine| {
                let mut poller = Poll::new().unwrap();
                let (mut socket, peer) = UnixStream::pair().unwrap();
                let _peer = provoke(peer);
                let both = Interest::READABLE | Interest::WRITABLE;
                poller.registry().register(&mut socket, Token(7), both).unwrap();
                let mut plain = Events::portable(4);
                plain.wait(&mut poller, None).unwrap();
                poller.registry().reregister(&mut socket, Token(7), both).unwrap();
                let mut exact = Waiter { fine, ..Waiter::new(4) };
                exact.wait(&poller, Some(Duration::from_secs(60))).unwrap();
                assert_eq!((plain.len(), exact.len()), (1, 1), "{what}");
                (format!("{:?}", plain.told(0)), format!("{:?}", exact.told(0)))
            });
            for (plain, exact) in told {
                assert_eq!(plain, exact, "{what}");
            }
        }
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "it is about the clock")]
    fn no_sleep_is_too_short() {
        let poller = Poll::new().unwrap();
        let waker = Waker::new(poller.registry(), Token(1)).unwrap();
        for fine in [true, false] {
            let mut waiter = Waiter { fine, ..Waiter::new(1) };
            for nanoseconds in [1, 999_999, 1_000_000, 1_000_001, 2_345_678] {
                let timeout = Duration::from_nanos(nanoseconds);
                let begun = Instant::now();
                waiter.wait(&poller, Some(timeout)).unwrap();
                assert!(begun.elapsed() >= timeout, "{timeout:?}, fine: {fine}");
                assert_eq!(waiter.len(), 0);
            }
            assert_eq!(waiter.fine, fine, "the kernel has both waits");
        }
        waker.wake().unwrap();
        let mut waiter = Waiter::new(0);
        waiter.wait(&poller, None).unwrap();
        assert_eq!(waiter.told(0).token, Token(1));
    }
}
