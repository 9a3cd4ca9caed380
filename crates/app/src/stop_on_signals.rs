//! SIGINT and SIGTERM for one server, without a thread.

use crate::Error;
use mainspring_loop::{Action, Conn, Cx, Error as LoopError, Handler, Input, Opened, Shard};

/// Has SIGINT and SIGTERM stop the server: the first drains it, a second ends it at once, and the
/// server's [`run`](mainspring_loop::ServerBuilder::run) or
/// [`join`](mainspring_loop::Running::join) then says
/// [`Aborted`](mainspring_loop::Error::Aborted) by [`Error::Interrupted`].
///
/// To be called in the set-up of each loop. The loop itself hears of the signals, so that a program of
/// one loop that is [run](mainspring_loop::ServerBuilder::run) on the main thread has no other until
/// it offloads something: its calls of the kernel are cheaper then, by some 2 % of the processor time
/// of an echo server, as no thread shares its descriptors. What that costs: a handler that does not
/// return keeps the signals waiting too. A [`Runner`](crate::Runner) waits on threads of its own, with
/// a deadline, and for several services.
///
/// On systems without signals it does nothing, and the system ends the process.
///
/// # Errors
///
/// [`Error::Signal`](mainspring_loop::Error::Signal) if the system lets nobody catch them.
///
/// # Examples
///
/// ```no_run
/// use mainspring_app::stop_on_signals;
/// use mainspring_loop::{Action, Conn, Input, Server};
///
/// Server::builder().run(|shard| {
///     let echo = shard.host(|conn: &mut Conn<'_>, input: &mut Input<'_>| {
///         conn.forward(input);
///         Action::Continue
///     });
///     shard.listen(echo, "tcp://localhost:5000")?;
///     stop_on_signals(shard)
/// })
/// # .unwrap()
/// ```
pub fn stop_on_signals(shard: &mut Shard<'_>) -> Result<(), LoopError> {
    if cfg!(not(unix)) {
        return Ok(());
    }
    let host = shard.host(StopOnSignals { draining: false });
    shard.catch_signal(host, SIGINT)?;
    shard.catch_signal(host, SIGTERM)
}

/// The same on every system that has them.
const SIGINT: i32 = 2;
const SIGTERM: i32 = 15;

struct StopOnSignals {
    draining: bool,
}

impl Handler for StopOnSignals {
    type State = ();

    fn on_open(&mut self, _conn: &mut Conn<'_>) -> Opened<()> {
        Opened::Refuse
    }

    fn on_data(&mut self, (): &mut (), _conn: &mut Conn<'_>, _input: &mut Input<'_>) -> Action {
        Action::Close
    }

    fn on_signal(&mut self, cx: &mut Cx<'_>, signal: i32) {
        if self.draining {
            tracing::warn!(signal, "stopping at once");
            cx.handle().abort(Error::Interrupted { signal });
        } else {
            self.draining = true;
            tracing::info!(signal, "draining; another signal stops at once");
            cx.drain();
        }
    }
}
