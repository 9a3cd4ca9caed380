//! tokio's traits for streams. They need no runtime of tokio's.

use crate::adapter::stream_traits;
use crate::stream::{ReadHalf, Stream, WriteHalf};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

stream_traits!(AsyncRead, AsyncWrite, &mut ReadBuf<'_>);
