//! `mainspring redis`: strings for Redis clients, answered as redis-server 7 answers.
//!
//! ```text
//!  on_data --> lock the store once --> decode, execute, decode, execute .. --> conn.out()
//!                                         |
//!                                         v change
//!  on_turn_end --------------------> append log: one write, one fsync --> then the replies leave
//! ```
//!
//! All loops share one keyspace behind one lock, which is taken once for all commands of a
//! delivery. Clients are answered in RESP2, after `HELLO 3` in RESP3. Not here: expiry (`EX` and
//! its kin are syntax errors, `TTL` says that keys stay), other types than strings, transactions,
//! publish and subscribe.

mod append_log;
mod commands;
mod connection;
mod glob;
mod keyspace;
mod replay;
mod settings;
mod store;

use crate::args::{Fsync, RedisArguments, YesNo};
use crate::service::{Failure, Service, loop_count};
use append_log::AppendLog;
use connection::Redis;
use mainspring::Limits;
use settings::Settings;
use std::sync::{Arc, Mutex};
use store::Store;

/// What the loops share.
struct Shared {
    store: Mutex<Store>,
    /// The file of `--appendonly yes`.
    log: Option<AppendLog>,
    settings: Settings,
}

pub(crate) fn run(arguments: &RedisArguments) -> Result<(), Failure> {
    let limits = Limits {
        input_max: arguments.input_max.0,
        // A single reply may hold an argument of 512 MiB.
        output_max: 1 << 30,
        memory_max: 2 << 30,
        ..Limits::default()
    };
    let service = Service { name: "redis", port: 6380, udp: false, takes_datagrams: false, limits };
    let shared = Arc::new(Shared::open(arguments)?);
    let for_loops = shared.clone();
    let served = service.run(&arguments.service, move || Redis::new(for_loops.clone()));
    // What was executed for connections that were gone before the turn ended has not been written.
    served.and(shared.commit().map_err(|error| Failure::Fatal(error.to_string())))
}

impl Shared {
    fn open(arguments: &RedisArguments) -> Result<Self, Failure> {
        let mut store = Store::new();
        let settings = Settings::new(arguments, loop_count(arguments.service.loops));
        let mut log = None;
        if arguments.appendonly == YesNo::Yes {
            let path = arguments.dir.join(&arguments.appendfilename);
            let syncs = arguments.appendfsync == Fsync::Always;
            let opened = AppendLog::open(&path, syncs, |command| {
                commands::replay(command, &mut store, &settings)
            });
            let opened =
                opened.map_err(|error| Failure::Fatal(format!("{}: {error}", path.display())))?;
            log = Some(opened);
            // Only now: what was replayed is in the log already.
            store.keep_changes();
        }
        Ok(Self { store: Mutex::new(store), log, settings })
    }

    /// Brings what was executed so far into the append log, if there is one.
    fn commit(&self) -> std::io::Result<()> {
        self.log.as_ref().map_or(Ok(()), |log| log.commit(&self.store))
    }
}
