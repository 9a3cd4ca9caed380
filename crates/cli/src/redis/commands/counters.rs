//! Commands that count: the value is a number in decimal.

use super::{Call, parse_integer};
use std::io::Write;

const NOT_AN_INTEGER: &str = "ERR value is not an integer or out of range";

pub(super) fn incr(call: &mut Call<'_>) {
    add(call, 1);
}

pub(super) fn decr(call: &mut Call<'_>) {
    add(call, -1);
}

pub(super) fn incrby(call: &mut Call<'_>) {
    match parse_integer(call.arg(2)) {
        Some(by) => add(call, by),
        None => call.error(NOT_AN_INTEGER),
    }
}

pub(super) fn decrby(call: &mut Call<'_>) {
    match parse_integer(call.arg(2)).map(i64::checked_neg) {
        Some(Some(by)) => add(call, by),
        Some(None) => call.error("ERR decrement would overflow"),
        None => call.error(NOT_AN_INTEGER),
    }
}

fn add(call: &mut Call<'_>, by: i64) {
    let key = call.arg(1);
    let before = call.store.keys.get(key).map_or(Some(0), parse_integer);
    let Some(before) = before else { return call.error(NOT_AN_INTEGER) };
    let Some(after) = before.checked_add(by) else {
        return call.error("ERR increment or decrement would overflow");
    };
    let value = call.store.keys.value_mut(key);
    value.clear();
    write!(value, "{after}").expect("writing to memory");
    call.changed();
    call.integer(after);
}
