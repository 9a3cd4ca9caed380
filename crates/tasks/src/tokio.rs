//! tokio's traits for streams. They need no runtime of tokio's.

use crate::adapter::stream_traits;
use crate::stream::{ReadHalf, Stream, WriteHalf};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncBufRead, AsyncRead, AsyncWrite, ReadBuf};

stream_traits!(AsyncRead, AsyncWrite, &mut ReadBuf<'_>);

impl AsyncBufRead for ReadHalf {
    fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        self.get_mut().poll_shown(cx)
    }

    fn consume(self: Pin<&mut Self>, count: usize) {
        self.get_mut().advance(count);
    }
}

impl AsyncBufRead for Stream {
    fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        self.get_mut().read_half().poll_shown(cx)
    }

    fn consume(self: Pin<&mut Self>, count: usize) {
        self.get_mut().read_half().advance(count);
    }
}
