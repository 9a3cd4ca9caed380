//! Commands about the server.

use super::table::{COMMANDS, Spec, find};
use super::{After, Call, c_string, run_one_of};
use crate::redis::glob;
use crate::redis::settings::REDIS_VERSION;
use mainspring::wire::resp::reply;

static COMMAND: &[Spec] = &[
    Spec::sub("command|count", 2, command_count),
    Spec::sub("command|docs", -2, command_docs),
    Spec::sub("command|info", -2, command_info),
    Spec::sub("command|list", 2, command_list),
];

pub(super) fn command(call: &mut Call<'_>) {
    if call.command.len() > 1 {
        return run_one_of(COMMAND, call);
    }
    reply::array_header(call.out, COMMANDS.len());
    COMMANDS.iter().for_each(|spec| describe(call, spec));
}

fn command_count(call: &mut Call<'_>) {
    call.count(COMMANDS.len());
}

/// No command is documented here: a map without entries.
fn command_docs(call: &mut Call<'_>) {
    call.map_header(0);
}

fn command_list(call: &mut Call<'_>) {
    reply::array_header(call.out, COMMANDS.len());
    COMMANDS.iter().for_each(|spec| reply::bulk(call.out, spec.name.as_bytes()));
}

fn command_info(call: &mut Call<'_>) {
    if call.command.len() == 2 {
        reply::array_header(call.out, COMMANDS.len());
        return COMMANDS.iter().for_each(|spec| describe(call, spec));
    }
    reply::array_header(call.out, call.command.len() - 2);
    for name in call.command.iter().skip(2) {
        match find(name) {
            Some(spec) => describe(call, spec),
            None => call.null(),
        }
    }
}

/// The ten elements that Redis 7 gives: name, arity, flags, first key, last key, step; then access
/// categories, tips, key specifications and subcommands, of which none are told.
fn describe(call: &mut Call<'_>, spec: &Spec) {
    reply::array_header(call.out, 10);
    reply::bulk(call.out, spec.name.as_bytes());
    call.integer(spec.arity.into());
    call.set_header(1);
    reply::simple(call.out, if spec.writes { b"write" } else { b"readonly" });
    let (first, last, step) = spec.keys;
    [first, last, step].iter().for_each(|key| call.integer((*key).into()));
    (0..4).for_each(|_| call.set_header(0));
}

static CONFIG: &[Spec] = &[
    Spec::sub("config|get", -3, config_get),
    Spec::sub("config|resetstat", 2, config_resetstat),
    Spec::sub("config|rewrite", 2, config_rewrite),
    Spec::sub("config|set", -4, config_set),
];

pub(super) fn config(call: &mut Call<'_>) {
    run_one_of(CONFIG, call);
}

/// A name is answered as it was written, patterns with the names that match.
fn config_get(call: &mut Call<'_>) {
    let mut found: Vec<(&[u8], &str)> = Vec::new();
    for asked in call.command.iter().skip(2) {
        let is_pattern = asked.iter().any(|byte| b"[*?".contains(byte));
        for (name, value) in call.settings.iter() {
            let name = name.as_bytes();
            if !glob::matches(asked, name, true)
                || found.iter().any(|(known, _)| known.eq_ignore_ascii_case(name))
            {
                continue;
            }
            found.push((if is_pattern { name } else { asked }, value));
        }
    }
    call.map_header(found.len());
    for (name, value) in found {
        reply::bulk(call.out, name);
        reply::bulk(call.out, value.as_bytes());
    }
}

/// The command line fixes the parameters: they can be set to what they are.
fn config_set(call: &mut Call<'_>) {
    if !call.command.len().is_multiple_of(2) {
        return call.error("ERR syntax error");
    }
    for index in (2..call.command.len()).step_by(2) {
        let (name, value) = (call.arg(index), call.arg(index + 1));
        let known =
            call.settings.iter().find(|(known, _)| known.as_bytes().eq_ignore_ascii_case(name));
        let text = match known {
            Some((_, is)) if is.as_bytes().eq_ignore_ascii_case(value) => continue,
            Some((known, _)) => format!(
                "ERR CONFIG SET failed (possibly related to argument '{known}') - can't set immutable config"
            )
            .into_bytes(),
            None => {
                let mut text = b"ERR Unknown option or number of arguments for CONFIG SET - '".to_vec();
                text.extend_from_slice(c_string(name, usize::MAX));
                text.push(b'\'');
                text
            }
        };
        return reply::error(call.out, &text);
    }
    call.ok();
}

fn config_resetstat(call: &mut Call<'_>) {
    call.store.executed = 0;
    call.ok();
}

fn config_rewrite(call: &mut Call<'_>) {
    call.error("ERR The server is running without a config file");
}

static FUNCTION: &[Spec] = &[
    Spec::sub("function|flush", -2, function_flush),
    Spec::sub("function|list", -2, function_list),
];

/// There are no functions; harnesses flush them all the same.
pub(super) fn function(call: &mut Call<'_>) {
    run_one_of(FUNCTION, call);
}

fn function_flush(call: &mut Call<'_>) {
    let mode = call.arg(2);
    let sound = match call.command.len() {
        2 => true,
        3 => mode.eq_ignore_ascii_case(b"sync") || mode.eq_ignore_ascii_case(b"async"),
        _ => false,
    };
    if sound {
        call.ok();
    } else {
        call.error("ERR FUNCTION FLUSH only supports SYNC|ASYNC option");
    }
}

fn function_list(call: &mut Call<'_>) {
    reply::array_header(call.out, 0);
}

/// `INFO [section ..]`: what of it there is to tell.
pub(super) fn info(call: &mut Call<'_>) {
    let (store, settings) = (&call.store, call.settings);
    let keys = store.keys.len();
    let keyspace = match keys {
        0 => String::new(),
        keys => format!("db0:keys={keys},expires=0,avg_ttl=0\r\n"),
    };
    let sections = [
        (
            "Server",
            format!(
                "redis_version:{REDIS_VERSION}\r\nredis_mode:standalone\r\nmainspring_version:{}\r\n\
                 os:{} {}\r\nprocess_id:{}\r\nio_threads_active:{}\r\n",
                env!("CARGO_PKG_VERSION"),
                std::env::consts::OS,
                std::env::consts::ARCH,
                std::process::id(),
                settings.loops,
            ),
        ),
        ("Clients", format!("connected_clients:{}\r\n", store.clients)),
        ("Persistence", format!("loading:0\r\naof_enabled:{}\r\n", u8::from(settings.appendonly))),
        ("Stats", format!("total_commands_processed:{}\r\n", store.executed)),
        ("Replication", "role:master\r\nconnected_slaves:0\r\n".to_owned()),
        ("Keyspace", keyspace),
    ];
    let wanted = |name: &str| {
        let is = |asked: &[u8]| {
            [name, "all", "default", "everything"]
                .iter()
                .any(|known| known.as_bytes().eq_ignore_ascii_case(asked))
        };
        call.command.len() == 1 || call.command.iter().skip(1).any(is)
    };
    let sections: Vec<String> = sections
        .iter()
        .filter(|(name, _)| wanted(name))
        .map(|(name, text)| format!("# {name}\r\n{text}"))
        .collect();
    call.text(&sections.join("\r\n"));
}

/// As evio's example, and unlike Redis, this says `+OK` before the server stops.
pub(super) fn shutdown(call: &mut Call<'_>) {
    let known: [&[u8]; 4] = [b"save", b"nosave", b"now", b"force"];
    let is_known = |option: &[u8]| known.iter().any(|known| known.eq_ignore_ascii_case(option));
    if !call.command.iter().skip(1).all(is_known) {
        return call.error("ERR syntax error");
    }
    call.ok();
    call.after = Some(After::Shutdown);
}
