//! What a task has written and the loop has not been given.

use crate::spares;
use crate::window::Window;
use mainspring_io::Kept;
use mainspring_loop::Conn;

/// Bytes in their order: first those `ahead`, if there are any.
#[derive(Default)]
pub(crate) struct Output {
    /// Received memory on its way on, and what was written before it.
    ahead: Option<(Window, Kept)>,
    /// Copied bytes.
    bytes: Window,
}

impl Output {
    pub(crate) fn len(&self) -> usize {
        let ahead = self.ahead.as_ref();
        let ahead = ahead.map_or(0, |(bytes, kept)| bytes.rest().len() + kept.bytes().len());
        ahead + self.bytes.rest().len()
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty() && self.ahead.is_none()
    }

    pub(crate) fn append(&mut self, bytes: &[u8]) {
        self.bytes.append(bytes);
    }

    /// Takes what was received as it is, if nothing stands in the way of that; else copies it.
    #[inline]
    pub(crate) fn forward(&mut self, window: Window) {
        if self.bytes.is_empty() && !window.is_kept() {
            self.bytes = window;
        } else {
            self.forward_behind(window);
        }
    }

    #[inline(never)]
    fn forward_behind(&mut self, window: Window) {
        match window.into_kept() {
            Ok(kept) if self.ahead.is_none() => {
                self.ahead = Some((std::mem::take(&mut self.bytes), kept));
            }
            Ok(kept) => self.append(kept.bytes()),
            Err(window) => self.append(window.rest()),
        }
    }

    /// Queues all of it on the connection, and tells how much is unsent there.
    #[inline(always)]
    pub(crate) fn hand_over(&mut self, conn: &mut Conn<'_>) -> usize {
        if self.ahead.is_some() {
            self.hand_over_ahead(conn);
        }
        hand_over(std::mem::take(&mut self.bytes), conn)
    }

    #[inline(never)]
    fn hand_over_ahead(&mut self, conn: &mut Conn<'_>) {
        if let Some((bytes, kept)) = self.ahead.take() {
            hand_over(bytes, conn);
            conn.forward_kept(kept);
        }
    }
}

#[inline(always)]
fn hand_over(window: Window, conn: &mut Conn<'_>) -> usize {
    match window.into_plain() {
        Ok(mut memory) => {
            let unsent = conn.append(&mut memory.bytes);
            spares::give(memory);
            unsent
        }
        Err(window) => hand_over_rest(&window, conn),
    }
}

#[inline(never)]
fn hand_over_rest(window: &Window, conn: &mut Conn<'_>) -> usize {
    if !window.is_empty() {
        conn.out().extend_from_slice(window.rest());
    }
    conn.out_bytes()
}
