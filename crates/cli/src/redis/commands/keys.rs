//! Commands about keys, whatever their values.

use super::{Call, parse_integer};
use crate::redis::glob;
use mainspring::wire::resp::reply;

pub(super) fn del(call: &mut Call<'_>) {
    let mut deleted = 0;
    for key in call.command.iter().skip(1) {
        deleted += usize::from(call.store.keys.remove(key).is_some());
    }
    if deleted > 0 {
        call.changed();
    }
    call.count(deleted);
}

/// Counts a key as often as it is named.
pub(super) fn exists(call: &mut Call<'_>) {
    let keys = call.command.iter().skip(1);
    let found = keys.filter(|key| call.store.keys.contains(key)).count();
    call.count(found);
}

/// `FLUSHALL` and `FLUSHDB`; arguments are ignored, as evio's example did.
pub(super) fn flush(call: &mut Call<'_>) {
    call.store.keys.clear();
    call.store.changed_as(&[b"FLUSHALL"]);
    call.ok();
}

pub(super) fn dbsize(call: &mut Call<'_>) {
    let count = call.store.keys.len();
    call.count(count);
}

pub(super) fn keys(call: &mut Call<'_>) {
    let pattern = call.arg(1);
    let keys = call.store.keys.iter();
    let matching: Vec<&[u8]> = keys.filter(|key| glob::matches(pattern, key, false)).collect();
    reply::array_header(call.out, matching.len());
    matching.iter().for_each(|key| reply::bulk(call.out, key));
}

/// `SCAN cursor [MATCH pattern] [COUNT count] [TYPE type]`: everything in one step, so that the
/// cursor is 0 at once. `COUNT` is a hint that a server may leave alone.
pub(super) fn scan(call: &mut Call<'_>) {
    let Some(cursor) = parse_cursor(call.arg(1)) else {
        return call.error("ERR invalid cursor");
    };
    let (mut pattern, mut strings) = (&b"*"[..], true);
    let mut at = 2;
    while at < call.command.len() {
        let (option, value) = (call.arg(at), call.command.get(at + 1));
        match (option.to_ascii_lowercase().as_slice(), value) {
            (b"match", Some(value)) => pattern = value,
            (b"type", Some(value)) => strings = value.eq_ignore_ascii_case(b"string"),
            (b"count", Some(value)) => match parse_integer(value) {
                Some(1..) => {}
                Some(_) => return call.error("ERR syntax error"),
                None => return call.error("ERR value is not an integer or out of range"),
            },
            _ => return call.error("ERR syntax error"),
        }
        at += 2;
    }
    let found = call.store.keys.iter();
    let keys = found.filter(|key| strings && cursor == 0 && glob::matches(pattern, key, false));
    let keys: Vec<&[u8]> = keys.collect();
    reply::array_header(call.out, 2);
    reply::bulk(call.out, b"0");
    reply::array_header(call.out, keys.len());
    keys.iter().for_each(|key| reply::bulk(call.out, key));
}

/// What `strtoul` of the C library takes whole, nothing included; a sign has no meaning here.
fn parse_cursor(text: &[u8]) -> Option<u64> {
    let digits = match text {
        [] => return Some(0),
        [b'+' | b'-', digits @ ..] => digits,
        digits => digits,
    };
    let unsigned = digits.iter().all(u8::is_ascii_digit);
    if unsigned { str::from_utf8(digits).ok()?.parse().ok() } else { None }
}

pub(super) fn type_of(call: &mut Call<'_>) {
    let name: &[u8] = if call.store.keys.contains(call.arg(1)) { b"string" } else { b"none" };
    reply::simple(call.out, name);
}

/// `TTL` and its kin: -1 for a key that stays, -2 for no such key. All keys stay.
pub(super) fn ttl(call: &mut Call<'_>) {
    let exists = call.store.keys.contains(call.arg(1));
    call.integer(if exists { -1 } else { -2 });
}

/// No key has a time to live that could be taken from it.
pub(super) fn persist(call: &mut Call<'_>) {
    call.integer(0);
}

pub(super) fn rename(call: &mut Call<'_>) {
    if call.store.keys.rename(call.arg(1), call.arg(2)) {
        call.changed();
        call.ok();
    } else {
        call.error("ERR no such key");
    }
}

pub(super) fn renamenx(call: &mut Call<'_>) {
    let (from, to) = (call.arg(1), call.arg(2));
    if !call.store.keys.contains(from) {
        return call.error("ERR no such key");
    }
    let renames = !call.store.keys.contains(to);
    if renames {
        call.store.keys.rename(from, to);
        call.changed();
    }
    call.integer(renames.into());
}
