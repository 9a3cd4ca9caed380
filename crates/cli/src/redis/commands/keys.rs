//! Commands about keys, whatever their values.

use super::Call;
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
