//! A server that a test reaches into from outside.

use super::{Client, Log, PATIENCE, Probe, TCP, eventually, inet};
use mainspring_loop::{Action, ConnId, Full, Limits, Remote, Running, Server};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;

/// A server and the way into it.
pub(crate) struct Reached {
    pub(crate) running: Running,
    pub(crate) remote: Remote<Probe>,
    ids: Arc<Mutex<Vec<ConnId>>>,
    pub(crate) log: Log,
}

impl Reached {
    /// `probe` fills in the handler; connections are noted as they open.
    pub(crate) fn new(
        limits: Limits,
        probe: impl Fn(&Log) -> Probe + Send + Sync + 'static,
    ) -> Self {
        Self::at(TCP, limits, probe)
    }

    /// As `new`, at an address with options.
    pub(crate) fn at(
        address: &'static str,
        limits: Limits,
        probe: impl Fn(&Log) -> Probe + Send + Sync + 'static,
    ) -> Self {
        let (log, ids) = (Log::new(), Arc::new(Mutex::new(Vec::new())));
        let (give, given) = channel();
        let (give, noted, told) = (Mutex::new(give), ids.clone(), log.clone());
        let running = Server::builder()
            .limits(limits)
            .start(move |shard| {
                let noted = noted.clone();
                let host = shard.host(probe(&told).open(move |conn| {
                    noted.lock().unwrap().push(conn.id());
                    Some(Action::Continue)
                }));
                shard.listen(host, address)?;
                give.lock().unwrap().send(shard.remote(host)).unwrap();
                Ok(())
            })
            .unwrap();
        Self { running, remote: given.recv().unwrap(), ids, log }
    }

    /// Another connection, and its id.
    pub(crate) fn client(&self) -> (Client, ConnId) {
        let before = self.ids.lock().unwrap().len();
        let client = Client::tcp(inet(&self.running));
        self.log.wait_for(before + 1, "open");
        eventually("the id", || self.ids.lock().unwrap().len() > before);
        let id = self.ids.lock().unwrap()[before];
        (client, id)
    }

    /// Keeps the loop from looking at its inbox until the answer is dropped.
    pub(crate) fn hold_up(&self) -> Sender<()> {
        let (release, released) = channel::<()>();
        let (arrive, arrived) = channel();
        self.remote
            .post(move |_, _| {
                arrive.send(()).unwrap();
                let _ = released.recv();
            })
            .unwrap();
        arrived.recv_timeout(PATIENCE).unwrap();
        release
    }

    /// Returns when the loop has done all that was asked of it before, owed callbacks included.
    pub(crate) fn settle(&self) {
        // They run after the posts of a turn: so a later turn has to come.
        let first = self.turn();
        while self.turn() == first {}
    }

    /// The number of the turn in which a post runs.
    fn turn(&self) -> u64 {
        let (tell, told) = channel();
        loop {
            let tell = tell.clone();
            match self.remote.post(move |_, cx| tell.send(cx.stats().wakeups).unwrap()) {
                Ok(()) => return told.recv_timeout(PATIENCE).expect("the loop turns"),
                Err(Full) => thread::yield_now(),
            }
        }
    }
}
