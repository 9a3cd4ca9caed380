//! What hyper's traits and tokio's have in common: they are of one shape under two names.

/// Implements a pair of traits for whole streams and their halves.
macro_rules! stream_traits {
    ($Read:ident, $Write:ident, $Buffer:ty) => {
        stream_traits!(@read ReadHalf, |half| half, $Read, $Buffer);
        stream_traits!(@read Stream, |stream| stream.read_half(), $Read, $Buffer);
        stream_traits!(@write WriteHalf, |half| half, $Write);
        stream_traits!(@write Stream, |stream| stream.write_half(), $Write);
    };
    (@read $Of:ty, |$this:ident| $half:expr, $Read:ident, $Buffer:ty) => {
        impl $Read for $Of {
            fn poll_read(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                #[allow(unused_mut, reason = "one of the two is a reference")] mut buffer: $Buffer,
            ) -> Poll<io::Result<()>> {
                let $this = self.get_mut();
                let take = |bytes: &[u8]| {
                    let count = bytes.len().min(buffer.remaining());
                    buffer.put_slice(&bytes[..count]);
                    count
                };
                $half.poll_take(cx, take).map_ok(drop)
            }
        }
    };
    (@write $Of:ty, |$this:ident| $half:expr, $Write:ident) => {
        impl $Write for $Of {
            fn poll_write(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                bytes: &[u8],
            ) -> Poll<io::Result<usize>> {
                let $this = self.get_mut();
                $half.poll_bytes(cx, bytes)
            }

            fn poll_write_vectored(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                pieces: &[IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                let $this = self.get_mut();
                $half.poll_pieces(cx, pieces)
            }

            fn is_write_vectored(&self) -> bool {
                true
            }

            /// Nothing waits: what is written leaves after the poll.
            fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(Ok(()))
            }

            fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                let $this = self.get_mut();
                $half.close();
                Poll::Ready(Ok(()))
            }
        }
    };
}

pub(crate) use stream_traits;
