//! A connection of a [`Framed`](crate::Framed) inside a callback.

use crate::Conn;
use mainspring_wire::Encode;
use std::ops::{Deref, DerefMut};

/// A [`Conn`] whose output is frames of the codec by which its input was cut.
pub struct FramedConn<'a, C> {
    conn: Conn<'a>,
    encoder: &'a mut C,
}

impl<'a, C> FramedConn<'a, C> {
    #[inline(always)]
    pub(super) fn new(conn: Conn<'a>, encoder: &'a mut C) -> Self {
        Self { conn, encoder }
    }

    /// Queues one frame. What is written to [`Conn::out`] instead is no frame.
    ///
    /// # Errors
    ///
    /// The codec cannot carry the item, or it is over the codec's maximum; nothing was queued.
    #[inline]
    pub fn send<T: ?Sized>(&mut self, item: &T) -> Result<(), C::Error>
    where
        C: Encode<T>,
    {
        self.encoder.encode(item, self.conn.out())
    }
}

impl<'a, C> Deref for FramedConn<'a, C> {
    type Target = Conn<'a>;

    fn deref(&self) -> &Conn<'a> {
        &self.conn
    }
}

impl<C> DerefMut for FramedConn<'_, C> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.conn
    }
}
