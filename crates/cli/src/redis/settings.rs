//! What `CONFIG GET`, `HELLO` and `INFO` tell of the server.

use crate::args::{Fsync, RedisArguments, YesNo};
use mainspring::wire::resp::{ARGUMENTS_MAX, BULK_BYTES_MAX};

/// The version of redis-server whose answers these are. Clients choose by it what they send.
pub(super) const REDIS_VERSION: &str = "7.0.15";

/// Parameters by the names that Redis gives them. They are fixed by the command line.
pub(super) struct Settings {
    parameters: Vec<(&'static str, String)>,
    pub(super) loops: usize,
    pub(super) appendonly: bool,
}

impl Settings {
    pub(super) fn new(arguments: &RedisArguments, loops: usize) -> Self {
        let yes_no = |yes| if yes { "yes" } else { "no" }.to_owned();
        let service = &arguments.service;
        let seconds =
            |timeout: Option<std::time::Duration>| timeout.map_or(0, |time| time.as_secs());
        let idle = service.idle_timeout.and_then(|timeout| timeout.0);
        let appendonly = arguments.appendonly == YesNo::Yes;
        let clients = service.connections_max.unwrap_or(ARGUMENTS_MAX);
        let parameters = vec![
            ("appendfilename", arguments.appendfilename.display().to_string()),
            (
                "appendfsync",
                if arguments.appendfsync == Fsync::Always { "always" } else { "no" }.into(),
            ),
            ("appendonly", yes_no(appendonly)),
            ("client-query-buffer-limit", arguments.input_max.0.to_string()),
            ("databases", "1".to_owned()),
            ("dir", arguments.dir.display().to_string()),
            ("io-threads", loops.to_string()),
            ("maxclients", clients.to_string()),
            ("maxmemory", "0".to_owned()),
            ("maxmemory-policy", "noeviction".to_owned()),
            ("proto-max-bulk-len", BULK_BYTES_MAX.to_string()),
            ("save", String::new()),
            ("timeout", seconds(idle).to_string()),
        ];
        Self { parameters, loops, appendonly }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.parameters.iter().map(|(name, value)| (*name, value.as_str()))
    }
}
