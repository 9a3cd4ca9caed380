//! Command lines: flags by name, each with or without a number, then free words.

/// A command line that was not understood; the message names what is allowed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Usage(pub(crate) String);

/// A flag that a command takes.
#[derive(Clone, Copy)]
pub(crate) enum Flag {
    /// Present or not, like `--log`.
    Switch(&'static str),
    /// Followed by a whole number, like `--seeds 1000` or `--seeds=1000`.
    Number(&'static str),
}

/// What was given.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Given {
    switches: Vec<&'static str>,
    numbers: Vec<(&'static str, u64)>,
    /// Words that are not flags, in order.
    pub(crate) words: Vec<String>,
}

impl Given {
    pub(crate) fn has(&self, name: &str) -> bool {
        self.switches.contains(&name)
    }

    pub(crate) fn number(&self, name: &str) -> Option<u64> {
        self.numbers.iter().find(|(given, _)| *given == name).map(|(_, value)| *value)
    }
}

/// Reads `args` by the list `allowed`; words are refused unless `words` says what they are.
pub(crate) fn parse(
    args: &[String],
    allowed: &[Flag],
    words: Option<&str>,
) -> Result<Given, Usage> {
    let mut given = Given::default();
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        if !arg.starts_with('-') {
            if words.is_none() {
                return Err(unknown("argument", arg, allowed, words));
            }
            given.words.push(arg.clone());
            continue;
        }
        let (name, inline) = match arg.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (arg.as_str(), None),
        };
        match allowed.iter().find(|flag| flag.name() == name) {
            None => return Err(unknown("flag", arg, allowed, words)),
            Some(Flag::Switch(name)) if inline.is_none() => given.switches.push(name),
            Some(Flag::Switch(name)) => return Err(Usage(format!("{name} takes no value"))),
            Some(Flag::Number(name)) => {
                let value = inline.or_else(|| rest.next().cloned());
                let number =
                    value.as_deref().and_then(|value| value.parse().ok()).ok_or_else(|| {
                        let found = value
                            .map_or_else(|| "nothing".to_owned(), |value| format!("`{value}`"));
                        Usage(format!("{name} wants a whole number, found {found}"))
                    })?;
                given.numbers.push((name, number));
            }
        }
    }
    Ok(given)
}

impl Flag {
    fn name(&self) -> &'static str {
        match self {
            Self::Switch(name) | Self::Number(name) => name,
        }
    }
}

fn unknown(kind: &str, found: &str, allowed: &[Flag], words: Option<&str>) -> Usage {
    let mut names: Vec<String> = allowed
        .iter()
        .map(|flag| match flag {
            Flag::Switch(name) => (*name).to_owned(),
            Flag::Number(name) => format!("{name} N"),
        })
        .collect();
    names.push("--help".to_owned());
    names.extend(words.map(str::to_owned));
    Usage(format!("unknown {kind} `{found}`; allowed: {}", names.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALLOWED: &[Flag] = &[Flag::Number("--seeds"), Flag::Switch("--log")];

    fn parse_words(line: &str, words: Option<&str>) -> Result<Given, Usage> {
        let args: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        parse(&args, ALLOWED, words)
    }

    #[test]
    fn numbers_are_taken_with_a_space_or_an_equals_sign() {
        for line in ["--seeds 12 --log", "--log --seeds=12"] {
            let given = parse_words(line, None).unwrap();
            assert_eq!(given.number("--seeds"), Some(12), "{line}");
            assert!(given.has("--log"), "{line}");
        }
        assert_eq!(parse_words("", None).unwrap(), Given::default());
    }

    #[test]
    fn what_is_not_understood_is_named_with_what_is_allowed() {
        let cases = [
            ("--seed 1", "unknown flag `--seed`; allowed: --seeds N, --log, --help"),
            ("--seeds", "--seeds wants a whole number, found nothing"),
            ("--seeds many", "--seeds wants a whole number, found `many`"),
            ("--log=yes", "--log takes no value"),
            ("resp", "unknown argument `resp`; allowed: --seeds N, --log, --help"),
        ];
        for (line, message) in cases {
            assert_eq!(parse_words(line, None), Err(Usage(message.to_owned())), "{line}");
        }
    }

    #[test]
    fn words_are_kept_in_order_where_a_command_takes_them() {
        assert_eq!(parse_words("a --log b", Some("TARGET")).unwrap().words, ["a", "b"]);
    }
}
