//! Commands about the connection itself.

use super::table::Spec;
use super::{After, Call, parse_integer, run_one_of};
use crate::redis::settings::REDIS_VERSION;
use mainspring::wire::resp::reply;

/// What the server knows of a client.
#[derive(Debug)]
pub(in crate::redis) struct Client {
    id: u64,
    /// As `CLIENT SETNAME` gave it; empty for none.
    name: Box<[u8]>,
    pub(super) protocol: Protocol,
}

/// The version of the protocol that a client is answered in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Resp2 = 2,
    Resp3 = 3,
}

impl Client {
    pub(in crate::redis) fn new(id: u64) -> Self {
        Self { id, name: Box::default(), protocol: Protocol::Resp2 }
    }
}

static CLIENT: &[Spec] = &[
    Spec::sub("client|getname", 2, getname),
    Spec::sub("client|id", 2, id),
    Spec::sub("client|no-evict", 3, on_or_off),
    Spec::sub("client|no-touch", 3, on_or_off),
    Spec::sub("client|setinfo", 4, setinfo),
    Spec::sub("client|setname", 3, setname),
];

pub(super) fn client(call: &mut Call<'_>) {
    run_one_of(CLIENT, call);
}

fn id(call: &mut Call<'_>) {
    call.integer(call.client.id as i64);
}

fn getname(call: &mut Call<'_>) {
    match &*call.client.name {
        [] => call.null(),
        name => reply::bulk(call.out, name),
    }
}

fn setname(call: &mut Call<'_>) {
    if name_client(call, call.arg(2)) {
        call.ok();
    }
}

/// Answers with the error if the name cannot be one.
fn name_client(call: &mut Call<'_>, name: &[u8]) -> bool {
    let sound = name.iter().all(|byte| (b'!'..=b'~').contains(byte));
    if sound {
        call.client.name = name.into();
    } else {
        call.error("ERR Client names cannot contain spaces, newlines or special characters.");
    }
    sound
}

/// What a library says about itself, which nobody here asks for.
fn setinfo(call: &mut Call<'_>) {
    call.ok();
}

/// There is no eviction from which a client could be kept.
fn on_or_off(call: &mut Call<'_>) {
    let value = call.arg(2);
    if value.eq_ignore_ascii_case(b"on") || value.eq_ignore_ascii_case(b"off") {
        call.ok();
    } else {
        call.error("ERR syntax error");
    }
}

pub(super) fn ping(call: &mut Call<'_>) {
    match call.command.len() {
        1 => call.out.extend_from_slice(b"+PONG\r\n"),
        2 => reply::bulk(call.out, call.arg(1)),
        _ => call.error("ERR wrong number of arguments for 'ping' command"),
    }
}

pub(super) fn echo(call: &mut Call<'_>) {
    reply::bulk(call.out, call.arg(1));
}

/// There is one database.
pub(super) fn select(call: &mut Call<'_>) {
    match parse_integer(call.arg(1)).map(i32::try_from) {
        Some(Ok(0)) => call.ok(),
        Some(Ok(_)) => call.error("ERR DB index is out of range"),
        Some(Err(_)) => {
            call.error("ERR value is out of range, value must between -2147483648 and 2147483647")
        }
        None => call.error("ERR value is not an integer or out of range"),
    }
}

pub(super) fn quit(call: &mut Call<'_>) {
    call.ok();
    call.after = Some(After::Close);
}

pub(super) fn reset(call: &mut Call<'_>) {
    call.client.name = Box::default();
    call.client.protocol = Protocol::Resp2;
    reply::simple(call.out, b"RESET");
}

/// evio's: the connection is woken from outside its callback, and the wake closes it.
pub(super) fn wake(call: &mut Call<'_>) {
    call.ok();
    call.after = Some(After::Wake);
}

/// `HELLO [2 | 3 [AUTH user password] [SETNAME name]]`: the default user, who has no password, is
/// let in with any. As in redis-server options take effect one by one, and the protocol changes if
/// all of them did.
pub(super) fn hello(call: &mut Call<'_>) {
    let mut protocol = call.client.protocol;
    if call.command.len() > 1 {
        protocol = match parse_integer(call.arg(1)) {
            None => return call.error("ERR Protocol version is not an integer or out of range"),
            Some(2) => Protocol::Resp2,
            Some(3) => Protocol::Resp3,
            Some(_) => return call.error("NOPROTO unsupported protocol version"),
        };
    }
    let mut at = 2;
    while at < call.command.len() {
        let option = call.arg(at);
        let more = call.command.len() - 1 - at;
        if option.eq_ignore_ascii_case(b"auth") && more >= 2 {
            if call.arg(at + 1) != b"default" {
                return call.error("WRONGPASS invalid username-password pair or user is disabled.");
            }
            at += 3;
        } else if option.eq_ignore_ascii_case(b"setname") && more >= 1 {
            if !name_client(call, call.arg(at + 1)) {
                return;
            }
            at += 2;
        } else {
            let mut text = b"ERR Syntax error in HELLO option '".to_vec();
            text.extend_from_slice(super::c_string(option, usize::MAX));
            text.push(b'\'');
            return reply::error(call.out, &text);
        }
    }
    call.client.protocol = protocol;
    describe(call);
}

fn describe(call: &mut Call<'_>) {
    call.map_header(7);
    let client = &*call.client;
    let out = &mut *call.out;
    for (name, value) in [("server", "redis"), ("version", REDIS_VERSION)] {
        reply::bulk(out, name.as_bytes());
        reply::bulk(out, value.as_bytes());
    }
    for (name, value) in [("proto", client.protocol as i64), ("id", client.id as i64)] {
        reply::bulk(out, name.as_bytes());
        reply::integer(out, value);
    }
    for (name, value) in [("mode", "standalone"), ("role", "master")] {
        reply::bulk(out, name.as_bytes());
        reply::bulk(out, value.as_bytes());
    }
    reply::bulk(out, b"modules");
    reply::array_header(out, 0);
}
