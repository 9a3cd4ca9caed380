//! What a program says when it is up.

use super::admin;
use mainspring::{
    Action, Addr, Address, Conn, Cx, Handler, Input, Opened, Scheme, ServerInfo, Shard, UnixAddr,
};
use std::io::Write;

/// Tells where the program listens.
#[derive(Clone)]
pub(super) struct Announcement {
    /// The program's name.
    pub(super) name: &'static str,
    /// Place by place, what is spoken there.
    pub(super) schemes: Vec<Scheme>,
}

impl Announcement {
    /// Has it told once, when every loop is set up and the handlers hosted before have started.
    pub(super) fn host(&self, shard: &mut Shard<'_>) {
        shard.host(self.clone());
    }

    /// The line that whoever started the program waits for, alone on stdout and complete.
    fn tell(&self, addrs: &[Addr]) {
        let told = self.schemes.iter().zip(addrs);
        let addresses: Vec<String> = told.map(|(scheme, addr)| written(*scheme, addr)).collect();
        let line = format!("mainspring {}: ready on {}\n", self.name, addresses.join(","));
        let mut stdout = std::io::stdout().lock();
        // One who has closed our stdout does not wait for the line.
        let _ = stdout.write_all(line.as_bytes()).and_then(|()| stdout.flush());
    }
}

impl Handler for Announcement {
    type State = ();

    fn on_start(&mut self, _cx: &mut Cx<'_>, server: &ServerInfo) -> Action {
        if server.loop_index == 0 {
            self.tell(&server.addrs);
            admin::announce(server.addrs.get(self.schemes.len()));
            tracing::info!("loops: {}", server.loops);
        }
        Action::Continue
    }

    fn on_open(&mut self, _conn: &mut Conn<'_>) -> Opened<()> {
        Opened::Refuse
    }

    fn on_data(&mut self, (): &mut (), _conn: &mut Conn<'_>, _input: &mut Input<'_>) -> Action {
        Action::Close
    }
}

/// A bound address as one that `--listen` takes.
fn written(scheme: Scheme, addr: &Addr) -> String {
    match addr {
        Addr::Unix(UnixAddr::Path(path)) => Address::unix(path).to_string(),
        addr => format!("{scheme}://{addr}"),
    }
}
