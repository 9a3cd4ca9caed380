//! All commands by name.

use super::{Call, client, counters, keys, server, strings};

/// A command.
pub(super) struct Spec {
    /// In lower case; that of a subcommand is `client|id`.
    pub(super) name: &'static str,
    /// How many arguments, the name included; negative: at least so many.
    pub(super) arity: i32,
    /// Whether it may change keys.
    pub(super) writes: bool,
    /// The first and last argument that is a key, and the step between keys; zero for none.
    pub(super) keys: (i32, i32, i32),
    pub(super) run: fn(&mut Call<'_>),
}

impl Spec {
    /// A subcommand: it has no keys.
    pub(super) const fn sub(name: &'static str, arity: i32, run: fn(&mut Call<'_>)) -> Self {
        Self { name, arity, writes: false, keys: NONE, run }
    }

    #[inline]
    pub(super) fn takes(&self, arguments: usize) -> bool {
        let arguments = i32::try_from(arguments).unwrap_or(i32::MAX);
        if self.arity < 0 { arguments >= -self.arity } else { arguments == self.arity }
    }
}

/// The command of this name, in any case.
#[inline]
pub(super) fn find(name: &[u8]) -> Option<&'static Spec> {
    let wanted = Name::of(name)?;
    let (start, end) = STARTS[usize::from(name[0] | CASE_BIT)];
    let names = &NAMES[start.into()..end.into()];
    let place = names.iter().position(|name| *name == wanted)?;
    COMMANDS.get(usize::from(start) + place)
}

/// A name of 1 to 16 bytes, to be compared in any case at once.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Name {
    len: usize,
    /// All its bytes, some of them twice, each with [`CASE_BIT`].
    letters: u128,
}

/// What makes a letter a small one. No other byte becomes a letter by it, so that a name of small
/// letters is met by no bytes but its own, in any case.
const CASE_BIT: u8 = 0x20;
const NAME_BYTES_MAX: usize = 16;

impl Name {
    #[inline]
    const fn of(name: &[u8]) -> Option<Self> {
        let letters = match (name, name.len()) {
            (&[], _) => return None,
            (&[first, ..], len @ 1..=3) => {
                let (middle, last) = (name[len / 2] as u128, name[len - 1] as u128);
                first as u128 | middle << 8 | last << 16
            }
            (_, 4..=8) => match (name.first_chunk(), name.last_chunk()) {
                (Some(front), Some(back)) => {
                    let (front, back) = (u32::from_le_bytes(*front), u32::from_le_bytes(*back));
                    front as u128 | (back as u128) << 32
                }
                _ => return None,
            },
            (_, 9..=NAME_BYTES_MAX) => match (name.first_chunk(), name.last_chunk()) {
                (Some(front), Some(back)) => {
                    let (front, back) = (u64::from_le_bytes(*front), u64::from_le_bytes(*back));
                    front as u128 | (back as u128) << 64
                }
                _ => return None,
            },
            _ => return None,
        };
        Some(Self { len: name.len(), letters: letters | u128::from_le_bytes([CASE_BIT; 16]) })
    }
}

const NONE: (i32, i32, i32) = (0, 0, 0);
const ONE: (i32, i32, i32) = (1, 1, 1);
const ALL: (i32, i32, i32) = (1, -1, 1);
const TWO: (i32, i32, i32) = (1, 2, 1);
const PAIRS: (i32, i32, i32) = (1, -1, 2);

macro_rules! commands {
    ($($name:literal, $arity:literal, $writes:literal, $keys:ident, $run:path;)*) => {
        /// Every command, sorted by the first letter and then by how much it is used.
        pub(super) static COMMANDS: &[Spec] = &[$(Spec {
            name: $name,
            arity: $arity,
            writes: $writes,
            keys: $keys,
            run: $run,
        }),*];
    };
}

// Name, arguments, whether it changes keys, where its keys are, what it does.
commands! {
    "append", 3, true, ONE, strings::append;
    "client", -2, false, NONE, client::client;
    "command", -1, false, NONE, server::command;
    "config", -2, false, NONE, server::config;
    "del", -2, true, ALL, keys::del;
    "decr", 2, true, ONE, counters::decr;
    "decrby", 3, true, ONE, counters::decrby;
    "dbsize", 1, false, NONE, keys::dbsize;
    "exists", -2, false, ALL, keys::exists;
    "echo", 2, false, NONE, client::echo;
    "expiretime", 2, false, ONE, keys::ttl;
    "flushall", -1, true, NONE, keys::flush;
    "flushdb", -1, true, NONE, keys::flush;
    "function", -2, false, NONE, server::function;
    "get", 2, false, ONE, strings::get;
    "getdel", 2, true, ONE, strings::getdel;
    "getset", 3, true, ONE, strings::getset;
    "getrange", 4, false, ONE, strings::getrange;
    "hello", -1, false, NONE, client::hello;
    "incr", 2, true, ONE, counters::incr;
    "incrby", 3, true, ONE, counters::incrby;
    "info", -1, false, NONE, server::info;
    "keys", 2, false, NONE, keys::keys;
    "mget", -2, false, ALL, strings::mget;
    "mset", -3, true, PAIRS, strings::mset;
    "msetnx", -3, true, PAIRS, strings::msetnx;
    "ping", -1, false, NONE, client::ping;
    "persist", 2, false, ONE, keys::persist;
    "pexpiretime", 2, false, ONE, keys::ttl;
    "pttl", 2, false, ONE, keys::ttl;
    "quit", -1, false, NONE, client::quit;
    "rename", 3, true, TWO, keys::rename;
    "renamenx", 3, true, TWO, keys::renamenx;
    "reset", 1, false, NONE, client::reset;
    "set", -3, true, ONE, strings::set;
    "setnx", 3, true, ONE, strings::setnx;
    "setrange", 4, true, ONE, strings::setrange;
    "select", 2, false, NONE, client::select;
    "scan", -2, false, NONE, keys::scan;
    "shutdown", -1, false, NONE, server::shutdown;
    "strlen", 2, false, ONE, strings::strlen;
    "substr", 4, false, ONE, strings::getrange;
    "ttl", 2, false, ONE, keys::ttl;
    "type", 2, false, ONE, keys::type_of;
    "touch", -2, false, ALL, keys::exists;
    "unlink", -2, true, ALL, keys::del;
    "wake", -1, false, NONE, client::wake;
}

/// The names of [`COMMANDS`].
static NAMES: [Name; COMMANDS.len()] = names();

const fn names() -> [Name; COMMANDS.len()] {
    let mut names = [Name { len: 0, letters: 0 }; COMMANDS.len()];
    let mut index = 0;
    while index < COMMANDS.len() {
        names[index] = Name::of(COMMANDS[index].name.as_bytes()).expect("1 to 16 bytes");
        index += 1;
    }
    names
}

/// Where in [`COMMANDS`] those are that start with each byte.
static STARTS: [(u8, u8); 256] = starts();

const fn starts() -> [(u8, u8); 256] {
    let mut starts = [(0, 0); 256];
    let mut index = 0;
    while index < COMMANDS.len() {
        let first = COMMANDS[index].name.as_bytes()[0] as usize;
        if starts[first].1 == 0 {
            starts[first].0 = index as u8;
        }
        starts[first].1 = index as u8 + 1;
        index += 1;
    }
    starts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_is_found_by_its_name_in_any_case() {
        assert!(COMMANDS.is_sorted_by_key(|spec| spec.name.as_bytes()[0]));
        for spec in COMMANDS {
            assert!(spec.name.bytes().all(|byte| byte.is_ascii_lowercase()), "{}", spec.name);
            assert_eq!(find(spec.name.as_bytes()).unwrap().name, spec.name);
            assert_eq!(find(spec.name.to_ascii_uppercase().as_bytes()).unwrap().name, spec.name);
        }
        let none = [
            "",
            "ge",
            "gett",
            "zzz",
            "get\0",
            "g\x05t",
            "aaaa",
            "a longer name than any that there is",
        ];
        for name in none {
            assert!(find(name.as_bytes()).is_none(), "{name:?}");
        }
    }
}
