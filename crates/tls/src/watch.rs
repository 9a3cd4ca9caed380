//! Certificates anew when their files change: a look at times and lengths, now and then.

use crate::TlsServer;
use mainspring_loop::{Action, Conn, Cx, Handler, Input, Opened, Tick};
use std::time::Duration;

/// A handler without connections that looks at files on every tick, on the offload pool.
pub(crate) struct Watch {
    pub(crate) server: TlsServer,
    pub(crate) every: Duration,
}

impl Handler for Watch {
    type State = ();

    fn on_open(&mut self, _conn: &mut Conn<'_>) -> Opened<()> {
        Opened::Refuse
    }

    fn on_data(&mut self, (): &mut (), _conn: &mut Conn<'_>, _input: &mut Input<'_>) -> Action {
        Action::Close
    }

    fn on_tick(&mut self, cx: &mut Cx<'_>) -> Tick {
        let (this, server) = (cx.this::<Self>(), self.server.clone());
        // When the pool is full, the next tick looks.
        let _ = cx.offload(this, move || look(&server), |_, _, ()| {});
        Tick::After(self.every)
    }
}

fn look(server: &TlsServer) {
    match server.reload_if_changed() {
        Ok(false) => {}
        Ok(true) => tracing::info!("TLS: the certificates have changed"),
        Err(error) => tracing::warn!(%error, "TLS: the old certificates stay"),
    }
}
