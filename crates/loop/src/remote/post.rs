//! The items of a loop's inbox.

use crate::broadcast::channel::Channel;
use crate::conn::completion::Completion;
use crate::handler::host::Host;
use crate::state::LoopState;
use bytes::Bytes;
use mainspring_io::{Accepted, Key};
use std::sync::Arc;

/// Work for a handler, with its type erased.
pub(crate) type Work = Box<dyn FnOnce(&mut [Box<dyn Host>], &mut LoopState) + Send>;

/// What other threads, and other loops, ask of a loop.
pub(crate) enum Post {
    Run(Work),
    Send {
        key: Key,
        bytes: Bytes,
        done: Option<Completion>,
    },
    Broadcast {
        keys: Arc<[Key]>,
        bytes: Bytes,
    },
    /// A message of a broadcaster.
    Cast {
        channel: Arc<Channel>,
        keys: Arc<[Key]>,
        bytes: Bytes,
    },
    Wake(Key),
    Close(Key),
    Abort(Key),
    Resume(Key),
    /// A connection that another loop has accepted for this one.
    Adopt {
        listener: u16,
        accepted: Box<Accepted>,
    },
}

impl Post {
    /// The bytes that count against the inbox's limit.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Send { bytes, .. } | Self::Broadcast { bytes, .. } | Self::Cast { bytes, .. } => {
                bytes.len()
            }
            _ => 0,
        }
    }
}
