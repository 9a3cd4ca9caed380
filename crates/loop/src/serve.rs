//! The shortest server; below, strategies: handlers that say where and when others run.

pub(crate) mod pool;
pub(crate) mod threads;

use crate::{Action, Conn, Error, Input, Server};
use mainspring_io::Address;

/// Serves one address with one closure on the calling thread, until the server is shut down.
///
/// `on_data` is called for every delivery of bytes; a closure is a [`Handler`](crate::Handler)
/// whose state is `()`. For more than that there is [`Server::builder`].
///
/// # Errors
///
/// [`Error::Address`] or [`Error::Bind`] before anything is served, [`Error::Driver`] if the poller
/// is lost.
///
/// # Examples
///
/// ```no_run
/// use mainspring_loop::{Action, serve};
///
/// serve("tcp://127.0.0.1:5000", |conn, input| {
///     conn.out().extend_from_slice(input.take());
///     Action::Continue
/// })?;
/// # Ok::<(), mainspring_loop::Error>(())
/// ```
pub fn serve<A, F>(address: A, on_data: F) -> Result<(), Error>
where
    A: TryInto<Address>,
    Error: From<A::Error>,
    F: FnMut(&mut Conn<'_>, &mut Input<'_>) -> Action + 'static,
{
    Server::builder().run(|shard| {
        let host = shard.host(on_data);
        shard.listen(host, address)?;
        Ok(())
    })
}
