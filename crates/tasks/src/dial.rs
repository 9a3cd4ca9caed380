//! Connections that tasks open.

use crate::executor::Executor;
use crate::link::{Link, Mark, broken};
use crate::local;
use crate::stream::Stream;
use crate::tasks::{Served, Tasks};
use mainspring_io::Address;
use mainspring_loop::Cx;
use std::fmt::Display;
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::{Poll, Waker};

/// A dial that the loop has not been told of.
pub(crate) struct Dial {
    address: Address,
    link: Rc<Link>,
}

/// Dials a stream address from inside of a task, on the task's loop. A host name is resolved on the
/// offload pool, its addresses are tried one after the other, and all of it has to be done within
/// [`Limits::dial_timeout`](mainspring_loop::Limits::dial_timeout).
///
/// Dropping the future gives the dial up.
///
/// # Errors
///
/// What the system said; [`TimedOut`](io::ErrorKind::TimedOut);
/// [`InvalidInput`](io::ErrorKind::InvalidInput) if the address cannot be understood or is one of
/// datagrams; [`QuotaExceeded`](io::ErrorKind::QuotaExceeded) if the server has all the connections
/// that it may have, or is stopping; [`Unsupported`](io::ErrorKind::Unsupported) if its
/// [`Tasks`](crate::Tasks) are part of another handler, to which connections would belong.
///
/// # Panics
///
/// Outside of a task.
pub async fn connect<A>(address: A) -> io::Result<Stream>
where
    A: TryInto<Address>,
    A::Error: Display,
{
    let address = address.try_into().map_err(|error| invalid(&error))?;
    if address.is_datagram() {
        return Err(invalid(&format_args!("{address} is a datagram address")));
    }
    let executor = local::current("connect");
    let link = Link::new(executor.clone(), None);
    executor.dials.borrow_mut().push(Dial { address, link: link.clone() });
    executor.unsettle();
    let stream = Stream::new(link.clone());
    poll_fn(|cx| poll_up(&link, cx.waker())).await?;
    Ok(stream)
}

fn poll_up(link: &Link, waker: &Waker) -> Poll<io::Result<()>> {
    if link.has(Mark::UP) {
        return Poll::Ready(Ok(()));
    }
    if link.has(Mark::REFUSED) {
        return Poll::Ready(Err(io::Error::new(
            io::ErrorKind::QuotaExceeded,
            "the server has no room for another connection, or is stopping",
        )));
    }
    if link.has(Mark::HOSTLESS) {
        return Poll::Ready(Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "tasks inside of another handler cannot dial: host them by themselves",
        )));
    }
    if let Some(reason) = link.reason.get() {
        return Poll::Ready(Err(broken(reason)));
    }
    link.writer.register(waker);
    Poll::Pending
}

fn invalid(what: &dyn Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, what.to_string())
}

impl Executor {
    pub(crate) fn carry_out_dials(&self, cx: &mut Cx<'_>) {
        loop {
            let Some(Dial { address, link }) = self.dials.borrow_mut().pop() else { return };
            if link.is_let_go() {
                continue;
            }
            if !cx.is_this::<Tasks>() {
                link.set(Mark::HOSTLESS);
                link.writer.wake();
                continue;
            }
            let host = cx.this::<Tasks>();
            match cx.connect(host, &address, Served::dialled(link.clone())) {
                Ok(id) => link.id.set(Some(id)),
                Err(_full) => {
                    link.set(Mark::REFUSED);
                    link.writer.wake();
                }
            }
        }
    }
}
