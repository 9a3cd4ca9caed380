//! What a task has written and the loop has not been given.

use crate::executor::Spares;
use crate::window::{Memory, Window};
use mainspring_io::Kept;
use mainspring_loop::Conn;

/// Bytes in their order: first those `ahead`, if there are any.
#[derive(Default)]
pub(crate) struct Output {
    /// Received memory on its way on, and what was written before it.
    ahead: Option<(Vec<u8>, Kept)>,
    bytes: Vec<u8>,
}

impl Output {
    pub(crate) fn len(&self) -> usize {
        let ahead = self.ahead.as_ref();
        self.bytes.len() + ahead.map_or(0, |(bytes, kept)| bytes.len() + kept.bytes().len())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty() && self.ahead.is_none()
    }

    pub(crate) fn append(&mut self, bytes: &[u8], spares: &Spares) {
        if self.bytes.capacity() == 0 {
            self.bytes = spares.take();
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// Takes what was received as it is, if nothing stands in the way of that; else copies it.
    pub(crate) fn forward(&mut self, window: Window, spares: &Spares) {
        match window.into_memory() {
            (Memory::Copied(bytes), 0) if self.bytes.is_empty() => {
                let before = std::mem::replace(&mut self.bytes, bytes);
                if before.capacity() > 0 {
                    spares.give(before);
                }
            }
            (Memory::Kept(kept), _) if self.ahead.is_none() => {
                self.ahead = Some((std::mem::take(&mut self.bytes), kept));
            }
            (Memory::Copied(bytes), taken) => {
                self.append(&bytes[taken..], spares);
                spares.give(bytes);
            }
            (Memory::Kept(kept), _) => self.append(kept.bytes(), spares),
        }
    }

    /// Queues all of it on the connection.
    pub(crate) fn hand_over(&mut self, conn: &mut Conn<'_>, spares: &Spares) {
        if let Some((mut bytes, kept)) = self.ahead.take() {
            hand_over(&mut bytes, conn, spares);
            conn.forward_kept(kept);
        }
        hand_over(&mut self.bytes, conn, spares);
    }

    /// Gives all of it up, and tells how much it was.
    pub(crate) fn clear(&mut self, spares: &Spares) -> usize {
        let count = self.len();
        self.ahead = None;
        if self.bytes.capacity() > 0 {
            spares.give(std::mem::take(&mut self.bytes));
        }
        count
    }
}

fn hand_over(bytes: &mut Vec<u8>, conn: &mut Conn<'_>, spares: &Spares) {
    if bytes.is_empty() {
        return;
    }
    let out = conn.out();
    if out.is_empty() {
        std::mem::swap(out, bytes);
    } else {
        out.extend_from_slice(bytes);
    }
    spares.give(std::mem::take(bytes));
}
