//! What can be told of a connection outside of its callbacks.

use crate::conn::slot::{ConnSlot, NO_LISTENER, Slot};
use crate::server::shared::ServerShared;
use crate::state::LoopState;
use crate::{ConnId, ConnStats};
use mainspring_io::{Addr, Key};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// A connection as it was when it was asked about.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ConnInfo {
    /// Its name.
    pub id: ConnId,
    /// The other end.
    pub peer: Addr,
    /// This end.
    pub local: Addr,
    /// When it was accepted, or dialled, by the clock of [`Cx::now`](crate::Cx::now).
    pub since: Instant,
    /// Which of the server's addresses it was accepted on; `None` if it was dialled.
    pub listener: Option<usize>,
    /// What has passed through it.
    pub stats: ConnStats,
    /// Output accepted and not yet handed to the kernel, in bytes.
    pub out_bytes: usize,
}

impl LoopState {
    pub(crate) fn conn_info(&self, key: Key, conn: &ConnSlot) -> ConnInfo {
        ConnInfo {
            id: self.id_of(key),
            peer: conn.ends.peer(),
            local: conn.ends.local(),
            since: self.instant_of(conn.since),
            listener: (conn.listener != NO_LISTENER).then_some(conn.listener.into()),
            stats: conn.stats(),
            out_bytes: conn.unsent(),
        }
    }

    fn conn_infos(&self) -> Vec<ConnInfo> {
        let info = |(key, slot): (_, &Slot)| match slot {
            Slot::Conn(conn) if conn.is_open() => Some(self.conn_info(key, conn)),
            _ => None,
        };
        self.slots.iter().filter_map(info).collect()
    }
}

impl ServerShared {
    /// The open connections of all loops. `None` if a loop has not answered after `wait`.
    pub(crate) fn conn_infos(&self, wait: Duration) -> Option<Vec<ConnInfo>> {
        let (answer, answers) = channel();
        for home in &self.loops {
            let answer = answer.clone();
            home.finish(Box::new(move |_, state| {
                // Whoever asked may have stopped waiting.
                let _ = answer.send(state.conn_infos());
            }));
        }
        // Loops that have ended drop the question with its sender.
        drop(answer);
        let mut infos = Vec::new();
        loop {
            match answers.recv_timeout(wait) {
                Ok(of_one_loop) => infos.extend(of_one_loop),
                Err(RecvTimeoutError::Disconnected) => return Some(infos),
                Err(RecvTimeoutError::Timeout) => return None,
            }
        }
    }
}
