//! Redis connections: the handler.

use super::Shared;
use super::commands::{After, Call, Client, execute};
use super::store::{Store, lock};
use mainspring::wire::resp::Commands;
use mainspring::wire::{Decode, Step};
use mainspring::{
    Action, CloseReason, Conn, ConnId, Cx, Handler, Input, Opened, Remote, ServerInfo,
};
use std::sync::Arc;

pub(super) struct Redis {
    shared: Arc<Shared>,
    /// The way back to this handler; known once the server runs.
    remote: Option<Remote<Self>>,
}

pub(super) struct Session {
    commands: Commands,
    client: Client,
}

/// After this much output of one delivery the connection is asked whether it is choked.
const OUTPUT_BYTES_UNASKED: usize = 16 * 1024;

impl Redis {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, remote: None }
    }

    fn wake(&self, conn: &mut Conn<'_>) {
        let id = conn.id();
        let asked = self.remote.as_ref().is_some_and(|remote| remote.wake(id).is_ok());
        if !asked {
            // The inbox is full; this loop can do without it.
            conn.cx().wake(id);
        }
    }
}

impl Handler for Redis {
    type State = Session;

    fn on_start(&mut self, cx: &mut Cx<'_>, _server: &ServerInfo) -> Action {
        self.remote = Some(cx.remote(cx.this::<Self>()));
        Action::Continue
    }

    fn on_open(&mut self, _conn: &mut Conn<'_>) -> Opened<Session> {
        let id = lock(&self.shared.store).client();
        Opened::Accept(Session { commands: Commands::new(), client: Client::new(id) })
    }

    fn on_data(
        &mut self,
        session: &mut Session,
        conn: &mut Conn<'_>,
        input: &mut Input<'_>,
    ) -> Action {
        let mut wakes = false;
        let action = {
            let mut store = lock(&self.shared.store);
            loop {
                // What is left comes again when the peer has read some of its replies.
                if conn.is_choked() {
                    break Action::Continue;
                }
                match self.answer(session, conn, input, &mut store) {
                    None => {}
                    Some(After::Wake) => wakes = true,
                    Some(After::More) => break Action::Continue,
                    Some(After::Close) => break Action::Close,
                    Some(After::Shutdown) => break Action::Shutdown,
                }
            }
        };
        if wakes {
            self.wake(conn);
        }
        action
    }

    fn on_wake(&mut self, _session: &mut Session, _conn: &mut Conn<'_>) -> Action {
        Action::Close
    }

    fn on_close(&mut self, _session: Session, _id: ConnId, _cx: &mut Cx<'_>, _why: CloseReason) {
        lock(&self.shared.store).clients -= 1;
    }

    fn on_turn_end(&mut self, _cx: &mut Cx<'_>) {
        if let Err(error) = self.shared.commit() {
            // Changes that are answered must be in the log, and these cannot be: end without
            // answering, as redis-server does under `appendfsync always`.
            tracing::error!(%error, "cannot write the append log");
            std::process::exit(1);
        }
    }
}

impl Redis {
    /// Answers commands until one has to be followed up; `None` when much output has come together.
    fn answer(
        &self,
        session: &mut Session,
        conn: &mut Conn<'_>,
        input: &mut Input<'_>,
        store: &mut Store,
    ) -> Option<After> {
        let out = conn.out();
        let ask_at = out.len() + OUTPUT_BYTES_UNASKED;
        let (bytes, mut at, mut need) = (input.bytes(), 0, None);
        let after = loop {
            if out.len() >= ask_at {
                break None;
            }
            match session.commands.decode(&mut bytes[at..]) {
                Ok(Step::Frame { frame, used }) => {
                    at += used;
                    let mut call = Call {
                        command: frame,
                        out,
                        store,
                        client: &mut session.client,
                        settings: &self.shared.settings,
                        after: None,
                    };
                    execute(&mut call);
                    if call.after.is_some() {
                        break call.after;
                    }
                    if at == bytes.len() {
                        break Some(After::More);
                    }
                }
                Ok(Step::Need(count)) => {
                    need = Some(count);
                    break Some(After::More);
                }
                Err(error) => {
                    error.append_reply(out);
                    break Some(After::Close);
                }
            }
        };
        input.consume(at);
        if let Some(count) = need {
            input.need(count);
        }
        after
    }
}
