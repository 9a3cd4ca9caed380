//! Commands: which there are, and what all of them have in common.

mod client;
mod counters;
mod keys;
mod server;
mod strings;
mod table;

use super::settings::Settings;
use super::store::Store;
pub(super) use client::Client;
use client::Protocol;
use mainspring::wire::resp::{Command, reply};
use table::Spec;

/// One command on its way.
pub(super) struct Call<'a> {
    pub(super) command: Command<'a>,
    /// Where the reply goes.
    pub(super) out: &'a mut Vec<u8>,
    pub(super) store: &'a mut Store,
    pub(super) client: &'a mut Client,
    pub(super) settings: &'a Settings,
    /// What is to be done when it has been answered.
    pub(super) after: Option<After>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum After {
    /// Wait for input.
    More,
    /// Have the connection woken.
    Wake,
    /// Close it; commands behind this one are not executed.
    Close,
    /// Stop the server.
    Shutdown,
}

impl<'a> Call<'a> {
    /// An argument that the number of arguments, which was checked, promises.
    fn arg(&self, index: usize) -> &'a [u8] {
        self.command.get(index).unwrap_or_default()
    }

    fn ok(&mut self) {
        self.out.extend_from_slice(b"+OK\r\n");
    }

    fn error(&mut self, text: &str) {
        reply::error(self.out, text.as_bytes());
    }

    fn integer(&mut self, value: i64) {
        reply::integer(self.out, value);
    }

    fn count(&mut self, value: usize) {
        self.integer(i64::try_from(value).unwrap_or(i64::MAX));
    }

    fn value(&mut self, value: Option<&[u8]>) {
        match value {
            Some(value) => reply::bulk(self.out, value),
            None => self.null(),
        }
    }

    fn null(&mut self) {
        match self.client.protocol {
            Protocol::Resp2 => reply::null(self.out),
            Protocol::Resp3 => reply::null3(self.out),
        }
    }

    /// The head of a map; `len` names and values follow in turn.
    fn map_header(&mut self, len: usize) {
        match self.client.protocol {
            Protocol::Resp2 => reply::array_header(self.out, 2 * len),
            Protocol::Resp3 => reply::map_header(self.out, len),
        }
    }

    fn set_header(&mut self, len: usize) {
        match self.client.protocol {
            Protocol::Resp2 => reply::array_header(self.out, len),
            Protocol::Resp3 => reply::set_header(self.out, len),
        }
    }

    /// Text for people.
    fn text(&mut self, text: &str) {
        match self.client.protocol {
            Protocol::Resp2 => reply::bulk(self.out, text.as_bytes()),
            Protocol::Resp3 => reply::verbatim(self.out, *b"txt", text.as_bytes()),
        }
    }

    /// The command has changed the keys, as it stands.
    fn changed(&mut self) {
        self.store.changed_by(&self.command);
    }
}

/// Executes a command and appends its reply.
#[inline]
pub(super) fn execute(call: &mut Call<'_>) {
    let Some(name) = call.command.name() else { return };
    call.store.executed += 1;
    match table::find(name) {
        Some(spec) => run(spec, call),
        None => unknown(call, name),
    }
}

/// Executes a command of an append log; the error says why it cannot be from one.
pub(super) fn replay(
    command: &Command<'_>,
    store: &mut Store,
    settings: &Settings,
) -> Result<(), &'static str> {
    let name = command.name().ok_or("a command without a name")?;
    let spec = table::find(name).ok_or("an unknown command")?;
    // redis-server names the database in the logs that it writes.
    if !spec.writes && spec.name != "select" {
        return Err("a command that changes nothing");
    }
    let mut out = Vec::new();
    let mut client = Client::new(0);
    let mut call = Call {
        command: *command,
        out: &mut out,
        store,
        client: &mut client,
        settings,
        after: None,
    };
    run(spec, &mut call);
    if out.first() == Some(&b'-') { Err("a command that fails") } else { Ok(()) }
}

#[inline]
fn run(spec: &'static Spec, call: &mut Call<'_>) {
    if spec.takes(call.command.len()) {
        (spec.run)(call);
    } else {
        call.error(&format!("ERR wrong number of arguments for '{}' command", spec.name));
    }
}

/// Runs a command that has its own table of commands, such as `CLIENT ID`.
fn run_one_of(specs: &'static [Spec], call: &mut Call<'_>) {
    let wanted = call.arg(1);
    let last = |spec: &&Spec| {
        spec.name
            .rsplit('|')
            .next()
            .is_some_and(|name| name.as_bytes().eq_ignore_ascii_case(wanted))
    };
    if let Some(spec) = specs.iter().find(last) {
        return run(spec, call);
    }
    let container = specs[0].name.split('|').next().unwrap_or_default().to_ascii_uppercase();
    if wanted.eq_ignore_ascii_case(b"help") {
        return help(specs, &container, call);
    }
    let mut text = b"ERR unknown subcommand '".to_vec();
    text.extend_from_slice(c_string(wanted, NAME_BYTES_SHOWN));
    text.extend_from_slice(format!("'. Try {container} HELP.").as_bytes());
    reply::error(call.out, &text);
}

fn help(specs: &[Spec], container: &str, call: &mut Call<'_>) {
    let intro = format!("{container} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:");
    let names = specs.iter().filter_map(|spec| spec.name.rsplit('|').next());
    let names = names.map(str::to_ascii_uppercase);
    let lines: Vec<String> = [intro].into_iter().chain(names).chain(["HELP".to_owned()]).collect();
    reply::array_header(call.out, lines.len());
    lines.iter().for_each(|line| reply::simple(call.out, line.as_bytes()));
}

/// How much of a name, and of arguments together, an error shows.
const NAME_BYTES_SHOWN: usize = 128;

/// A command that is in no table: the three that redis-server knows by name alone, and errors.
fn unknown(call: &mut Call<'_>, name: &[u8]) {
    // "Possible SECURITY ATTACK detected. It looks like somebody is sending POST or Host: commands
    // to Redis. [..] Connection aborted."
    let name = c_string(name, usize::MAX);
    if name.eq_ignore_ascii_case(b"post") || name.eq_ignore_ascii_case(b"host:") {
        tracing::warn!("an HTTP client speaks to this Redis server: connection closed");
        // As redis-server does, which frees the client before it writes.
        call.out.clear();
        call.after = Some(After::Close);
        return;
    }
    if name.eq_ignore_ascii_case(b"quit") {
        return client::quit(call);
    }
    let mut text = b"ERR unknown command '".to_vec();
    text.extend_from_slice(c_string(name, NAME_BYTES_SHOWN));
    text.extend_from_slice(b"', with args beginning with: ");
    let start = text.len();
    for argument in call.command.iter().skip(1) {
        let shown = text.len() - start;
        if shown >= NAME_BYTES_SHOWN {
            break;
        }
        text.push(b'\'');
        text.extend_from_slice(c_string(argument, NAME_BYTES_SHOWN - shown));
        text.extend_from_slice(b"' ");
    }
    reply::error(call.out, &text);
}

/// What `%.*s` of the C library prints: up to a zero byte, and not more than `most`.
fn c_string(bytes: &[u8], most: usize) -> &[u8] {
    let bytes = &bytes[..bytes.len().min(most)];
    let end = bytes.iter().position(|byte| *byte == 0);
    &bytes[..end.unwrap_or(bytes.len())]
}

/// A number as redis-server reads it: decimal, without `+`, leading zeros or spaces.
fn parse_integer(text: &[u8]) -> Option<i64> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let canonical = match digits {
        b"0" => text == b"0",
        [b'1'..=b'9', ..] => true,
        _ => false,
    };
    if canonical { str::from_utf8(text).ok()?.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_canonical_numbers_are_numbers() {
        for value in [0, 1, -1, 10, i64::MAX, i64::MIN] {
            assert_eq!(parse_integer(value.to_string().as_bytes()), Some(value));
        }
        for text in
            ["", "-", "+1", "01", "-0", " 1", "1 ", "1a", "9223372036854775808", "--1", "1.0"]
        {
            assert_eq!(parse_integer(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn c_strings_end_at_zero_or_at_the_limit() {
        assert_eq!(c_string(b"abc\0d", 128), b"abc");
        assert_eq!(c_string(b"abcd", 2), b"ab");
        assert_eq!(c_string(b"", 2), b"");
    }
}
