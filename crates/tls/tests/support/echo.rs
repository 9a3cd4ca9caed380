//! A handler that echoes and tells what it saw.

use mainspring_loop::{Action, CloseReason, Conn, ConnId, Cx, Handler, Input, Opened};
use mainspring_tls::{TlsInfo, tls_info};
use std::sync::{Arc, Mutex};

/// What the handlers of a server have seen.
#[derive(Clone, Default)]
pub(crate) struct Seen(Arc<Mutex<Events>>);

#[derive(Clone, Default)]
pub(crate) struct Events {
    pub(crate) opened: Vec<Option<TlsInfo>>,
    pub(crate) closed: Vec<CloseReason>,
}

impl Seen {
    pub(crate) fn events(&self) -> Events {
        self.0.lock().unwrap().clone()
    }

    /// What TLS had agreed on when the last connection was opened.
    pub(crate) fn last_info(&self) -> TlsInfo {
        self.events().opened.last().cloned().flatten().expect("a connection over TLS")
    }
}

pub(crate) struct Echo {
    seen: Seen,
}

impl Echo {
    pub(crate) fn new(seen: &Seen) -> Self {
        Self { seen: seen.clone() }
    }
}

impl Handler for Echo {
    type State = ();

    fn on_open(&mut self, conn: &mut Conn<'_>) -> Opened<()> {
        self.seen.0.lock().unwrap().opened.push(tls_info(conn).cloned());
        Opened::Accept(())
    }

    fn on_data(&mut self, (): &mut (), conn: &mut Conn<'_>, input: &mut Input<'_>) -> Action {
        conn.out().extend_from_slice(input.take());
        Action::Continue
    }

    fn on_close(&mut self, (): (), _id: ConnId, _cx: &mut Cx<'_>, reason: CloseReason) {
        self.seen.0.lock().unwrap().closed.push(reason);
    }
}
