//! What leaves with a turn.

use crate::conn::slot::Flags;
use mainspring_io::Key;

/// The sockets that the next `flush` has to look at, and the handlers that hear of the turn's end
/// before it.
#[derive(Default)]
pub(crate) struct Outgoing {
    pub(crate) sockets: Vec<Key>,
    /// Of each handler, whether it has something to send.
    hosts: Vec<bool>,
}

impl Outgoing {
    /// The loop has one handler more.
    pub(crate) fn add_host(&mut self) {
        self.hosts.push(false);
    }

    /// Has `flush` look at a socket, by its flags.
    #[inline(always)]
    pub(crate) fn mark(&mut self, key: Key, flags: &mut Flags) {
        if flags.raise(Flags::DIRTY) {
            self.sockets.push(key);
        }
    }

    /// A handler's socket has something to send.
    #[inline(always)]
    pub(crate) fn note_output(&mut self, key: Key, flags: &mut Flags, host: u32) {
        self.mark(key, flags);
        self.note_host(host);
    }

    /// A handler has something to send.
    #[inline(always)]
    pub(crate) fn note_host(&mut self, host: u32) {
        self.hosts[host as usize] = true;
    }

    /// The first handler from `from` on with something to send.
    #[inline(always)]
    pub(crate) fn next_host(&self, from: u32) -> Option<u32> {
        let rest = self.hosts.get(from as usize..)?;
        rest.iter().position(|waits| *waits).map(|nth| from + nth as u32)
    }

    /// A handler has heard that the turn ends.
    #[inline(always)]
    pub(crate) fn clear_host(&mut self, host: u32) {
        self.hosts[host as usize] = false;
    }
}
