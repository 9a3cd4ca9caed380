//! Inputs from a seed: a corpus of sound and nearly sound inputs, and mutations that keep some
//! structure.

use super::{TARGETS, Target};

/// Runs the target called `name` over its corpus, and then over `iterations` inputs made from
/// `seed`: the same ones each time.
///
/// Returns `false`, without running anything, when [`TARGETS`] has no such name.
///
/// # Panics
///
/// When a property fails. Seed and iteration are printed on standard error first.
pub fn run(name: &str, seed: u64, iterations: u64) -> bool {
    let Some((known, target)) = TARGETS.iter().find(|(known, _)| *known == name) else {
        return false;
    };
    run_over(&inputs(name), known, *target, seed, iterations);
    true
}

/// As [`run`], for a body from elsewhere, with a corpus of its own.
///
/// # Panics
///
/// As for [`run`], and if the corpus is empty.
pub fn run_over(corpus: &[Vec<u8>], name: &str, target: Target, seed: u64, iterations: u64) {
    for input in corpus {
        target(input);
    }
    let mut random = Random(seed);
    let mut witness = Witness { name, seed, iteration: 0 };
    while witness.iteration < iterations {
        target(&mutated(corpus, &mut random));
        witness.iteration += 1;
    }
}

/// Says on panic what to call again.
struct Witness<'a> {
    name: &'a str,
    seed: u64,
    iteration: u64,
}

impl Drop for Witness<'_> {
    #[expect(
        clippy::print_stderr,
        reason = "a failure must name its seed, and the panic is not ours"
    )]
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Witness { name, seed, iteration } = self;
            eprintln!("fuzz target {name} fails with seed {seed} in iteration {iteration}");
        }
    }
}

/// SplitMix64.
pub(super) struct Random(u64);

impl Random {
    /// Seeded by an input (FNV-1a), so that a failing input fails again.
    pub(super) fn of(bytes: &[u8]) -> Self {
        let fold = |hash: u64, &byte: &u8| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        Random(bytes.iter().fold(0xcbf2_9ce4_8422_2325, fold))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    /// A number under `bound`, which is over 0.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }
}

/// Bytes that decoders look at.
const TELLING: &[u8] = b"\r\n\0 \t\"'\\*$+-:,;x019aAfF/.\x7f\x80\xff";
const NUMBERS: [&[u8]; 12] = [
    b"0",
    b"-1",
    b"1",
    b"2",
    b"16",
    b"64",
    b"100",
    b"101",
    b"2147483647",
    b"2147483648",
    b"9223372036854775808",
    b"ffffffffffffffff",
];
const INPUT_BYTES_MAX: usize = 2000;

fn mutated(corpus: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut input = corpus[random.below(corpus.len())].clone();
    for _ in 0..random.below(5) {
        mutate(&mut input, corpus, random);
    }
    input.truncate(INPUT_BYTES_MAX);
    input
}

fn mutate(input: &mut Vec<u8>, corpus: &[Vec<u8>], random: &mut Random) {
    let at = random.below(input.len() + 1);
    let end = (at + random.below(12)).min(input.len());
    match random.below(10) {
        0 => input.truncate(at),
        1 => drop(input.drain(at..end)),
        2 => input.insert(at, TELLING[random.below(TELLING.len())]),
        3 if at < input.len() => input[at] = TELLING[random.below(TELLING.len())],
        4 if at < input.len() => input[at] = random.next() as u8,
        5 if at < input.len() => input[at] ^= 1 << random.below(8),
        6 => {
            let again = input[at..end].repeat(1 + random.below(30));
            input.splice(at..at, again);
        }
        7 => {
            let number = NUMBERS[random.below(NUMBERS.len())];
            let digits = input[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
            input.splice(at..at + digits, number.iter().copied());
        }
        8 => {
            // Behind the settings of the other input.
            let other = &corpus[random.below(corpus.len())];
            input.extend_from_slice(&other[other.len().min(2)..]);
        }
        _ => {
            let other = &corpus[random.below(corpus.len())];
            let from = random.below(other.len() + 1);
            let part = &other[from..(from + 40).min(other.len())];
            input.splice(at..at, part.iter().copied());
        }
    }
}

/// The corpus of a target, settings in front.
fn inputs(name: &str) -> Vec<Vec<u8>> {
    let (settings, texts): (&[&[u8]], &[&[u8]]) = match name {
        "separator" => {
            (&[b"\0\x20", b"\x01\x20", b"\x02\x08", b"\x03\x08", b"\x05\x40"], SEPARATED)
        }
        "length_prefix" => (
            &[
                b"\0\xff",
                b"\x01\xff",
                b"\x02\x10",
                b"\x03\xff",
                b"\x04\x10",
                b"\x05\xff",
                b"\x06\x10",
                b"\x07\x10",
                b"\x08\xff",
            ],
            PREFIXED,
        ),
        "varint" => (&[b""], VARINTS),
        "primitive" => (&[b"\0\xff", b"\x05\x10", b"\x0e\x03", b"\x0f\x20"], VALUES),
        "proxy" => (&[b"\0\0", b"\x01\x40", b"\x02\0", b"\x03\0"], PROXIED),
        "resp_commands" => (&[b"\0", b"\x01"], COMMANDS),
        "resp_replies" => (&[b""], REPLIES),
        "http1_head" => (&[b"\0", b"\x20", b"\xff"], HEADS),
        _ => (&[b"\0\x08", b"\x01\x08", b"\x02\0"], BODIES),
    };
    let with = |settings: &[u8]| -> Vec<Vec<u8>> {
        texts.iter().map(|text| [settings, text].concat()).collect()
    };
    settings.iter().flat_map(|settings| with(settings)).collect()
}

const SEPARATED: &[&[u8]] = &[
    b"",
    b"one\ntwo\r\n\r\n\nthree",
    b"aaaabaabaabababa--aa",
    b"--------x-----x----",
    b"a\0b\0\0c",
    b"0123456789012345678901234567890\n01234567890123456789012345678901\n012345678901234567890123456789012\n",
];
const PREFIXED: &[&[u8]] = &[
    b"",
    b"\0\x01a\x02bc\0",
    b"\0\x03abc\0\0\0\x01z",
    b"\x03\0abc\x01\0\0\0z",
    b"\0\0\0\0\0\0\0\x03abc\0\0\0\0\0\0\0\0",
    b"\x03\0\0\0\0\0\0\0abc",
    b"\x83\x80\x00abc\x80\x80\x80\x80\x10",
    b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
    b"\x7f\xff\xff\xff\xff\xff\xff\xff\x01",
];
const VARINTS: &[&[u8]] = &[
    b"",
    b"\0",
    b"\x7f",
    b"\x80\x01",
    b"\xdd\xc7\x01",
    b"\xff\xff\xff\xff\x0f",
    b"\xff\xff\xff\xff\x1f",
    b"\x80\x80\x80\x80\x80",
    b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
    b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02",
    b"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80",
];
const VALUES: &[&[u8]] = &[
    b"",
    b"\0\x01\xff\x80\x01\x7f\xff\xfe\x39\x30\xff\xff\xff\xff\x0f\x03abc\x04\xc3\xa4\xc3\xb6",
    b"\x03abc\x02\xff\xfe\x05hello\x00\x3f\xc0\0\0\x7f\xc0\0\x01",
    b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x80\x80\x80\x80\x00\x10sixteen bytes ..",
    b"\xff\xff\xff\xff\x0fbomb",
    b"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80",
    b"\x03\xe2\x82\xac\x03\xe2\x82\x03\xed\xa0\x80",
    b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
];
const PROXIED: &[&[u8]] = &[
    b"",
    b"PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\nGET / HTTP/1.1\r\n",
    b"PROXY TCP6 2001:db8::1 ::ffff:1.2.3.4 0 65535\r\n",
    b"PROXY UNKNOWN\r\n",
    b"PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
    b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\n",
    b"\r\n\r\n\0\r\nQUIT\n\x20\x00\0\0rest",
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x01\x02\x03\x04\x05\x06\x07\x08\0\x01\xff\xffrest",
    b"\r\n\r\n\0\r\nQUIT\n\x21\x22\0\x24aaaabbbbccccddddaaaabbbbccccdddd\0\x01\xff\xff",
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff\x01\x02\x03\x04",
    // The checksum of these bytes.
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x13\x01\x02\x03\x04\x05\x06\x07\x08\0\x01\0\x02\x03\0\x04\x65\xa6\x0e\x1e",
    b"\x01\0\x02h2\x02\0\x0bexample.org\x04\0\0\x05\0\x03abc\x30\0\x02ns\xe0\0\x01z",
    b"\x20\0\x0f\x07\0\0\0\x01\x21\0\x07TLSv1.3\x20\0\x05\x01\0\0\0\0",
    b"\x03\0\x04\0\0\0\0",
    b"\x04\xff\xff",
];
const COMMANDS: &[&[u8]] = &[
    b"",
    b"PING\r\nping\nset a b\r\n",
    b"*1\r\n$4\r\nPING\r\n*2\r\n$3\r\nGET\r\n$1\r\na\r\n",
    b"*3\r\n$3\r\nSET\r\n$0\r\n\r\n$12\r\n\r\n*1\r\n$4\r\nPI\r\nPING\r\n",
    b"\r\n\n  \t\r\n*0\r\n*-1\r\n*-10\r\nPING\r\n*0\r\n",
    b"set \"v\\x41\\n\\\"\" 'a \\' b' \"\" a\"b c\"\r\nPING\r\n",
    b"\"a\"b\r\n",
    b"'a\r\n",
    b"*1\r\nfoo\r\n",
    b"*01\r\n",
    b"*1\r\n$+4\r\nPING\r\n",
    b"*2147483647\r\n$4\r\nPING\r\n$536870912\r\nabc",
    b"*2\r\n$100\r\nshort",
    b"PING\0\r\nPING\r\n0123456789012345678901234567890123456789012345678901234567890123456789\r\n",
    b"0123456789012345678901234567890123456789012345678901234567890123\nPING\r\n",
    b"*0000000000000000000000000000000000000000000000000000000000000000000000\r\n",
    b"*1\r\n$0000000000000000000000000000000000000000000000000000000000000000000\r\n",
    b"*1\rx$4\rxPINGxx*1\r\n\r\n",
];
const REPLIES: &[&[u8]] = &[
    b"",
    b"+OK\r\n-ERR no\r\n:1000\r\n:-1\r\n$5\r\nhello\r\n$0\r\n\r\n$-1\r\n*-1\r\n*0\r\n",
    b"*3\r\n:1\r\n*2\r\n+a\r\n*0\r\n$2\r\n\r\n\r\n+next\r\n",
    b"*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n",
    b"$100\r\nshort",
    b"*20\r\n$-2\r\n",
    b"+O\rK\r\n",
    b":01\r\n",
];
const HEADS: &[&[u8]] = &[
    b"",
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /b HTTP/1.0\r\n\r\n",
    b"\r\n\r\nPOST /x?y HTTP/1.1\r\nhost:a:80\r\ncontent-length: 5, 5\r\nexpect: 100-continue\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: [::1]\r\nTransfer-Encoding: chunked\r\nConnection: close, x\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\n\r\n",
    b"GET / HTTP/1.1\nHost: a\n\n",
    b"PRI * HTTP/2.0\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\na:\r\nb: \r\nc: \t\xff d \t\r\ne:f\r\ng:h\r\ni:j\r\nk:l\r\nm:n\r\n\r\n",
    b"GET /012345678901234567890123456789012345678901234567890123456789 HTTP/1.1\r\n\r\n",
];
const BODIES: &[&[u8]] = &[
    b"",
    b"4\r\nWiki\r\n6;a=\"b\";c\r\npedia \r\nE \t;x\r\nin \r\n\r\nchunks.\r\n0\r\n\r\nGET",
    b"5\r\nhello\r\n000\r\nExpires: never\r\nX:\r\n\r\nGET / HTTP/1.1\r\n",
    b"ffffffffffffffff\r\n",
    b"4\r\nabcde\r\n",
    b"4 \r\nabcd\r\n",
    b"0\r\n a: b\r\n\r\n",
    b"12c\r\n",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_holds_over_its_corpus_and_its_mutations() {
        for (name, _) in TARGETS {
            assert!(run(name, 1, 5_000), "{name}");
        }
    }

    #[test]
    fn every_target_holds_over_every_corpus() {
        for (_, target) in TARGETS {
            for (other, _) in TARGETS {
                inputs(other).iter().for_each(|input| target(input));
            }
        }
    }

    #[test]
    fn an_unknown_target_is_told() {
        assert!(!run("no such target", 1, 1));
    }

    #[test]
    fn a_seed_gives_the_same_inputs_again() {
        let corpus = inputs("resp_commands");
        let inputs = |seed| {
            let mut random = Random(seed);
            (0..50).map(|_| mutated(&corpus, &mut random)).collect::<Vec<_>>()
        };
        assert_eq!(inputs(7), inputs(7));
        assert_ne!(inputs(7), inputs(8));
    }
}
