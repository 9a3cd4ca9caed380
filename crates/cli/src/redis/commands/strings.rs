//! Commands that read and write whole values, or parts of them.

use super::{Call, parse_integer};
use mainspring::wire::resp::{BULK_BYTES_MAX, reply};

const SYNTAX: &str = "ERR syntax error";
const NOT_AN_INTEGER: &str = "ERR value is not an integer or out of range";
const TOO_LONG: &str = "ERR string exceeds maximum allowed size (proto-max-bulk-len)";

pub(super) fn get(call: &mut Call<'_>) {
    let value = call.store.keys.get(call.arg(1));
    match value {
        Some(value) => reply::bulk(call.out, value),
        None => call.null(),
    }
}

/// `SET key value [NX | XX] [GET] [KEEPTTL]`. The options that set a time to live are errors here:
/// better than a key that stays for ever.
pub(super) fn set(call: &mut Call<'_>) {
    let (key, value) = (call.arg(1), call.arg(2));
    if call.command.len() == 3 {
        call.store.keys.set(key, value);
        call.changed();
        return call.ok();
    }
    let (mut only_new, mut only_old, mut get) = (false, false, false);
    for option in call.command.iter().skip(3) {
        match option.to_ascii_lowercase().as_slice() {
            b"nx" if !only_old => only_new = true,
            b"xx" if !only_new => only_old = true,
            b"get" => get = true,
            b"keepttl" => {}
            _ => return call.error(SYNTAX),
        }
    }
    if get {
        self::get(call);
    }
    let exists = call.store.keys.contains(key);
    let sets = if exists { !only_new } else { !only_old };
    if sets {
        call.store.keys.set(key, value);
        call.store.changed_as(&[b"SET", key, value]);
    }
    match (get, sets) {
        (true, _) => {}
        (false, true) => call.ok(),
        (false, false) => call.null(),
    }
}

pub(super) fn setnx(call: &mut Call<'_>) {
    let key = call.arg(1);
    let sets = !call.store.keys.contains(key);
    if sets {
        let value = call.arg(2);
        call.store.keys.set(key, value);
        call.changed();
    }
    call.integer(sets.into());
}

pub(super) fn getset(call: &mut Call<'_>) {
    get(call);
    let (key, value) = (call.arg(1), call.arg(2));
    call.store.keys.set(key, value);
    call.changed();
}

pub(super) fn getdel(call: &mut Call<'_>) {
    let value = call.store.keys.remove(call.arg(1));
    call.value(value.as_deref());
    if value.is_some() {
        call.changed();
    }
}

pub(super) fn mget(call: &mut Call<'_>) {
    reply::array_header(call.out, call.command.len() - 1);
    for key in call.command.iter().skip(1) {
        match call.store.keys.get(key) {
            Some(value) => reply::bulk(call.out, value),
            None => call.null(),
        }
    }
}

pub(super) fn mset(call: &mut Call<'_>) {
    if call.command.len().is_multiple_of(2) {
        return call.error("ERR wrong number of arguments for 'mset' command");
    }
    set_pairs(call);
    call.ok();
}

pub(super) fn msetnx(call: &mut Call<'_>) {
    if call.command.len().is_multiple_of(2) {
        return call.error("ERR wrong number of arguments for 'msetnx' command");
    }
    let mut keys = call.command.iter().skip(1).step_by(2);
    if keys.any(|key| call.store.keys.contains(key)) {
        return call.integer(0);
    }
    set_pairs(call);
    call.integer(1);
}

fn set_pairs(call: &mut Call<'_>) {
    for index in (1..call.command.len()).step_by(2) {
        let (key, value) = (call.arg(index), call.arg(index + 1));
        call.store.keys.set(key, value);
    }
    call.changed();
}

pub(super) fn append(call: &mut Call<'_>) {
    let (key, tail) = (call.arg(1), call.arg(2));
    let length = call.store.keys.get(key).map_or(0, <[u8]>::len) + tail.len();
    if length > BULK_BYTES_MAX {
        return call.error(TOO_LONG);
    }
    call.store.keys.value_mut(key).extend_from_slice(tail);
    call.changed();
    call.count(length);
}

pub(super) fn strlen(call: &mut Call<'_>) {
    let length = call.store.keys.get(call.arg(1)).map_or(0, <[u8]>::len);
    call.count(length);
}

/// `GETRANGE key start end`: both ends included, negative ones counted from the end of the value.
pub(super) fn getrange(call: &mut Call<'_>) {
    let (Some(start), Some(end)) = (parse_integer(call.arg(2)), parse_integer(call.arg(3))) else {
        return call.error(NOT_AN_INTEGER);
    };
    let value = call.store.keys.get(call.arg(1)).unwrap_or_default();
    reply::bulk(call.out, range(value, start, end));
}

fn range(value: &[u8], start: i64, end: i64) -> &[u8] {
    let length = value.len() as i64;
    if start < 0 && end < 0 && start > end {
        return &[];
    }
    let from_front = |at: i64| if at < 0 { at.saturating_add(length).max(0) } else { at };
    let (start, end) = (from_front(start), from_front(end).min(length - 1));
    if start > end || length == 0 { &[] } else { &value[start as usize..=end as usize] }
}

/// `SETRANGE key offset value`: zero bytes fill the gap.
pub(super) fn setrange(call: &mut Call<'_>) {
    let (key, part) = (call.arg(1), call.arg(3));
    let Some(offset) = parse_integer(call.arg(2)) else { return call.error(NOT_AN_INTEGER) };
    let Ok(offset) = usize::try_from(offset) else {
        return call.error("ERR offset is out of range");
    };
    let length = call.store.keys.get(key).map_or(0, <[u8]>::len);
    if part.is_empty() {
        return call.count(length);
    }
    let end = offset.saturating_add(part.len());
    if end > BULK_BYTES_MAX {
        return call.error(TOO_LONG);
    }
    let value = call.store.keys.value_mut(key);
    value.resize(length.max(end), 0);
    value[offset..end].copy_from_slice(part);
    call.changed();
    call.count(length.max(end));
}

#[cfg(test)]
mod tests {
    use super::range;

    #[test]
    fn ranges_are_cut_to_the_value() {
        let table: [(i64, i64, &[u8]); 9] = [
            (0, -1, b"hello"),
            (1, 3, b"ell"),
            (-3, -2, b"ll"),
            (-100, 1, b"he"),
            (3, 100, b"lo"),
            (5, 9, b""),
            (3, 1, b""),
            (i64::MIN, i64::MAX, b"hello"),
            (-1, -3, b""),
        ];
        for (start, end, expected) in table {
            assert_eq!(range(b"hello", start, end), expected, "{start} {end}");
        }
        assert_eq!(range(b"", 0, -1), b"");
    }
}
