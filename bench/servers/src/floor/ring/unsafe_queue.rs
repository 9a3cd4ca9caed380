//! The two queues of io_uring, so that they can be used without care: what the kernel reads belongs
//! to the queue until the kernel has read it.
//!
//! A reply is sent with MSG_DONTWAIT and makes a completion only if it did not go as a whole. So all
//! replies of a turn are done when the call that submits them returns, the same call that waits
//! for the next turn, and no second call is made for their completions.
#![expect(unsafe_code, reason = "submitted entries hold addresses")]

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};

use io_uring::squeue::{self, Flags};
use io_uring::types::{Fd, Fixed};
use io_uring::{CompletionQueue, IoUring, SubmissionQueue, Submitter, cqueue, opcode};
use rustix::process::{Resource, getrlimit};

use super::unsafe_buffers::{Buffers, Received};
use crate::BUFFER_SIZE;

const SUBMISSIONS: u32 = 1024;
const COMPLETIONS: u32 = 8192;
/// Enough for a turn of hundreds of small messages. More are not better: what is received before the
/// replies go would leave the cache.
const BUFFERS: u16 = 128;
/// Files of the ring, if the process may have more.
const FILES_MAX: u64 = 32_768;
/// Made replies that are kept to be used again.
const SPARE_MAX: usize = 1024;

/// The kind of an entry stands in the upper bits of its user data.
const KIND_SHIFT: u32 = 32;
const ACCEPT: u64 = 0;
const RECEIVE: u64 = 1;
const SEND: u64 = 2;
const FLUSH: u64 = 3;
const SHUT_DOWN: u64 = 4;
const OTHER: u64 = 5;

/// What is to be sent.
pub(super) enum Bytes {
    Received(Received),
    Constant(&'static [u8]),
    Made(Vec<u8>),
}

impl Bytes {
    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::Received(_) => false,
            Self::Constant(bytes) => bytes.is_empty(),
            Self::Made(bytes) => bytes.is_empty(),
        }
    }
}

/// What has happened.
pub(super) enum Event {
    Accepted {
        slot: u32,
    },
    /// No more connections come until the queue is asked again.
    AcceptEnded {
        errno: i32,
    },
    Received {
        slot: u32,
        received: Received,
        more: bool,
    },
    /// Nothing comes any more: the error, or 0 at the end of the stream.
    ReceiveEnded {
        slot: u32,
        errno: i32,
    },
    /// What a blocked connection had left has gone, or the error that ended it.
    Flushed {
        slot: u32,
        outcome: Result<(), i32>,
    },
    /// [`Queue::shut_down`] is done.
    ShutDown {
        slot: u32,
    },
}

/// A reply that did not go as a whole.
pub(super) struct Unsent {
    pub(super) slot: u32,
    /// What is left, or the error that ended the connection.
    pub(super) outcome: Result<Vec<u8>, i32>,
}

pub(super) struct Queue {
    submitter: Submitter<'static>,
    submissions: SubmissionQueue<'static>,
    completions: CompletionQueue<'static>,
    listener: OwnedFd,
    pub(super) buffers: Buffers,
    /// Replies of this turn: the kernel reads them in the call that ends it.
    sent: Vec<(u32, Bytes)>,
    /// Rests of blocked connections by slot, and how much of each has gone: the kernel reads them
    /// when it can.
    flushes: HashMap<u32, (Vec<u8>, usize)>,
    spare: Vec<Vec<u8>>,
}

impl Queue {
    pub(super) fn new(listener: OwnedFd) -> io::Result<Self> {
        let ring: IoUring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_coop_taskrun()
            .setup_submit_all()
            .setup_cqsize(COMPLETIONS)
            .build(SUBMISSIONS)?;
        // A server lives as long as its process.
        let ring: &'static mut IoUring = Box::leak(Box::new(ring));
        let (mut submitter, submissions, completions) = ring.split();
        submitter.register_ring_fd()?;
        let files = getrlimit(Resource::Nofile).current.unwrap_or(FILES_MAX).min(FILES_MAX);
        submitter.register_files_sparse(files as u32)?;
        let buffers = Buffers::register(&submitter, BUFFERS, BUFFER_SIZE)?;
        Ok(Self {
            submitter,
            submissions,
            completions,
            listener,
            buffers,
            sent: Vec::new(),
            flushes: HashMap::new(),
            spare: Vec::new(),
        })
    }

    /// Every connection from now on, as a file of the ring.
    pub(super) fn accept(&mut self) -> io::Result<()> {
        let listener = Fd(self.listener.as_raw_fd());
        let entry = opcode::AcceptMulti::new(listener).allocate_file_index(true).build();
        self.push(entry.user_data(ACCEPT << KIND_SHIFT))
    }

    /// Whatever comes from now on.
    pub(super) fn receive(&mut self, slot: u32) -> io::Result<()> {
        let entry = opcode::RecvMulti::new(Fixed(slot), 0).build();
        self.push(entry.user_data(data(RECEIVE, slot)))
    }

    /// Ends [`Queue::receive`], which tells so.
    pub(super) fn stop_receiving(&mut self, slot: u32) -> io::Result<()> {
        let entry = opcode::AsyncCancel::new(data(RECEIVE, slot)).build();
        self.push_quiet(entry)
    }

    /// Sends at the end of this turn; a connection may do so once in a turn, and not while a rest
    /// waits.
    pub(super) fn send(&mut self, slot: u32, bytes: Bytes) -> io::Result<()> {
        let (place, length) = match &bytes {
            Bytes::Received(received) => {
                let bytes = self.buffers.bytes(received);
                (bytes.as_ptr(), bytes.len())
            }
            Bytes::Constant(bytes) => (bytes.as_ptr(), bytes.len()),
            Bytes::Made(bytes) => (bytes.as_ptr(), bytes.len()),
        };
        let index = self.sent.len() as u32;
        self.sent.push((slot, bytes));
        let flags = libc::MSG_DONTWAIT | libc::MSG_WAITALL | libc::MSG_NOSIGNAL;
        let entry = opcode::Send::new(Fixed(slot), place, length as u32).flags(flags).build();
        self.push(entry.flags(Flags::SKIP_SUCCESS).user_data(data(SEND, index)))
    }

    /// Sends what is left of a reply when there is room.
    pub(super) fn flush(&mut self, slot: u32, bytes: Vec<u8>) -> io::Result<()> {
        self.flushes.insert(slot, (bytes, 0));
        self.push_flush(slot)
    }

    /// Closes both directions; what is under way for the connection ends. The kernel does so in a
    /// thread of its own, which looks the file up by then: it tells when it is done.
    pub(super) fn shut_down(&mut self, slot: u32) -> io::Result<()> {
        let entry = opcode::Shutdown::new(Fixed(slot), libc::SHUT_RDWR).build();
        self.push(entry.user_data(data(SHUT_DOWN, slot)))
    }

    /// Closes a connection for which nothing is under way.
    pub(super) fn close(&mut self, slot: u32) -> io::Result<()> {
        debug_assert!(!self.flushes.contains_key(&slot));
        self.push_quiet(opcode::Close::new(Fixed(slot)).build())
    }

    /// An empty reply to be made.
    pub(super) fn spare(&mut self) -> Vec<u8> {
        self.spare.pop().unwrap_or_default()
    }

    /// Ends the turn: submits, waits for something to happen if `wait`, and adds what has happened.
    pub(super) fn turn(
        &mut self,
        wait: bool,
        unsent: &mut Vec<Unsent>,
        events: &mut Vec<Event>,
    ) -> io::Result<()> {
        self.submissions.sync();
        match self.submitter.submit_and_wait(usize::from(wait)) {
            Ok(_) => {}
            Err(error) if matches!(error.raw_os_error(), Some(libc::EINTR | libc::EBUSY)) => {}
            Err(error) => return Err(error),
        }
        self.submissions.sync();
        self.completions.sync();
        while let Some(entry) = self.completions.next() {
            if entry.user_data() >> KIND_SHIFT == SEND {
                unsent.push(self.unsent(entry.user_data() as u32, entry.result()));
            } else if let Some(event) = self.event(&entry)? {
                events.push(event);
            }
        }
        // Or else the next wait would take what was seen for new.
        self.completions.sync();
        // The kernel is done with what was sent, unless not all of it was submitted.
        if self.submissions.is_empty() {
            self.take_back();
        }
        Ok(())
    }

    fn event(&mut self, entry: &cqueue::Entry) -> io::Result<Option<Event>> {
        let (result, flags) = (entry.result(), entry.flags());
        let slot = entry.user_data() as u32;
        let more = cqueue::more(flags);
        Ok(match entry.user_data() >> KIND_SHIFT {
            ACCEPT if result >= 0 => {
                if !more {
                    self.accept()?;
                }
                Some(Event::Accepted { slot: result as u32 })
            }
            ACCEPT if more => None,
            ACCEPT => Some(Event::AcceptEnded { errno: -result }),
            RECEIVE => Some(match cqueue::buffer_select(flags) {
                Some(id) if result > 0 => {
                    let received = self.buffers.taken(id, result as u32);
                    Event::Received { slot, received, more }
                }
                _ => Event::ReceiveEnded { slot, errno: -result.min(0) },
            }),
            FLUSH => self.flushed(slot, result)?,
            SHUT_DOWN => Some(Event::ShutDown { slot }),
            _ => None,
        })
    }

    fn unsent(&mut self, index: u32, result: i32) -> Unsent {
        let (slot, bytes) = &self.sent[index as usize];
        let bytes = match bytes {
            Bytes::Received(received) => self.buffers.bytes(received),
            Bytes::Constant(bytes) => bytes,
            Bytes::Made(bytes) => bytes,
        };
        let outcome = match result {
            sent if sent >= 0 => Ok(bytes[sent as usize..].to_vec()),
            error if error == -libc::EAGAIN => Ok(bytes.to_vec()),
            error => Err(-error),
        };
        Unsent { slot: *slot, outcome }
    }

    fn flushed(&mut self, slot: u32, result: i32) -> io::Result<Option<Event>> {
        let Some((bytes, sent)) = self.flushes.get_mut(&slot) else { return Ok(None) };
        if result >= 0 {
            *sent += result as usize;
            if *sent < bytes.len() {
                self.push_flush(slot)?;
                return Ok(None);
            }
        }
        self.flushes.remove(&slot);
        let outcome = if result < 0 { Err(-result) } else { Ok(()) };
        Ok(Some(Event::Flushed { slot, outcome }))
    }

    fn push_flush(&mut self, slot: u32) -> io::Result<()> {
        let (bytes, sent) = &self.flushes[&slot];
        let left = &bytes[*sent..];
        let flags = libc::MSG_WAITALL | libc::MSG_NOSIGNAL;
        let entry = opcode::Send::new(Fixed(slot), left.as_ptr(), left.len() as u32).flags(flags);
        self.push(entry.build().user_data(data(FLUSH, slot)))
    }

    fn take_back(&mut self) {
        for (_, bytes) in self.sent.drain(..) {
            match bytes {
                Bytes::Received(received) => self.buffers.give_back(received),
                Bytes::Made(mut made) if self.spare.len() < SPARE_MAX => {
                    made.clear();
                    self.spare.push(made);
                }
                Bytes::Made(_) | Bytes::Constant(_) => {}
            }
        }
        self.buffers.publish();
    }

    fn push_quiet(&mut self, entry: squeue::Entry) -> io::Result<()> {
        self.push(entry.flags(Flags::SKIP_SUCCESS).user_data(OTHER << KIND_SHIFT))
    }

    fn push(&mut self, entry: squeue::Entry) -> io::Result<()> {
        // SAFETY: the addresses in an entry are of bytes that `sent` or `flushes` own until the
        // kernel is done with them; moving a `Vec` does not move its bytes. Files and the group of
        // buffers are checked by the kernel.
        while unsafe { self.submissions.push(&entry) }.is_err() {
            self.submissions.sync();
            self.submitter.submit()?;
            self.submissions.sync();
        }
        Ok(())
    }
}

fn data(kind: u64, index: u32) -> u64 {
    kind << KIND_SHIFT | u64::from(index)
}
