//! Patterns of `KEYS` and `CONFIG GET`, as `stringmatchlen` of redis-server matches them.

/// Whether all of `text` matches: `*` any bytes, `?` any byte, `[a-c]`, `[^x]`, `\` takes the next
/// byte as it is. The time is bounded by the product of the two lengths.
pub(super) fn matches(pattern: &[u8], text: &[u8], ignore_case: bool) -> bool {
    let (mut at, mut from) = (0, 0);
    // Behind the last `*`, and where in the text its rest is tried next.
    let mut star: Option<(usize, usize)> = None;
    loop {
        if pattern.get(at) == Some(&b'*') {
            star = Some((at + 1, from));
            at += 1;
            continue;
        }
        let step = match text.get(from) {
            None if at == pattern.len() => return true,
            // Trailing stars have been taken above: what is left of the pattern wants another byte.
            None => return false,
            Some(byte) => single(&pattern[at..], *byte, ignore_case),
        };
        match (step, star) {
            (Some(taken), _) => (at, from) = (at + taken, from + 1),
            (None, Some((behind, next))) => {
                (at, from) = (behind, next + 1);
                star = Some((behind, next + 1));
            }
            (None, None) => return false,
        }
    }
}

/// How much of the pattern matches one byte.
fn single(pattern: &[u8], byte: u8, ignore_case: bool) -> Option<usize> {
    let same = |wanted: u8| match ignore_case {
        true => wanted.eq_ignore_ascii_case(&byte),
        false => wanted == byte,
    };
    match *pattern {
        [] => None,
        [b'?', ..] => Some(1),
        [b'[', ref class @ ..] => {
            let (matched, used) = in_class(class, byte, ignore_case);
            matched.then_some(1 + used)
        }
        [b'\\', wanted, ..] => same(wanted).then_some(2),
        [wanted, ..] => same(wanted).then_some(1),
    }
}

/// Whether a class, from behind its `[`, holds the byte, and how long it is. One without an end
/// goes to the end of the pattern.
fn in_class(class: &[u8], byte: u8, ignore_case: bool) -> (bool, usize) {
    let fold = |byte: u8| if ignore_case { byte.to_ascii_lowercase() } else { byte };
    let byte = fold(byte);
    let negated = class.first() == Some(&b'^');
    let (mut at, mut found) = (usize::from(negated), false);
    loop {
        match class[at..] {
            [] => return (found != negated, at),
            [b']', ..] => return (found != negated, at + 1),
            [b'\\', wanted, ..] => {
                found |= wanted == byte;
                at += 2;
            }
            [first, b'-', last, ..] => {
                let (low, high) = (fold(first.min(last)), fold(first.max(last)));
                found |= (low..=high).contains(&byte);
                at += 3;
            }
            [wanted, ..] => {
                found |= fold(wanted) == byte;
                at += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns() {
        let table = [
            ("*", "", true),
            ("*", "abc", true),
            ("", "", true),
            ("", "a", false),
            ("a", "", false),
            ("a*c", "abbc", true),
            ("a*c", "abbcd", false),
            ("a**", "a", true),
            ("*a*b", "xaxaxb", true),
            ("?", "", false),
            ("a?c", "abc", true),
            ("[a-c]x", "bx", true),
            ("[c-a]x", "bx", true),
            ("[^a]", "a", false),
            ("[^a]", "b", true),
            ("[ab", "b", true),
            ("[]", "a", false),
            (r"\*", "*", true),
            (r"\*", "x", false),
            (r"[\]]", "]", true),
            ("ABC", "abc", false),
        ];
        for (pattern, text, expected) in table {
            let seen = matches(pattern.as_bytes(), text.as_bytes(), false);
            assert_eq!(seen, expected, "{pattern:?} {text:?}");
        }
        assert!(matches(b"MAX[B-D]lients", b"maxclients", true));
    }

    #[test]
    fn many_stars_take_no_time() {
        let pattern = "a*".repeat(1000) + "b";
        assert!(!matches(pattern.as_bytes(), &[b'a'; 2000], false));
    }
}
