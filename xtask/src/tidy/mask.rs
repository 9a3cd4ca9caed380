//! Rust text with comments and the insides of literals blanked, so that words and braces can be
//! searched for without a parser. Line breaks stay, hence line numbers hold.

/// Blanks what is not code.
pub(super) fn code_only(text: &str) -> String {
    let mut scanner = Scanner { rest: text, out: String::with_capacity(text.len()) };
    while !scanner.rest.is_empty() {
        scanner.step();
    }
    scanner.out
}

struct Scanner<'a> {
    rest: &'a str,
    out: String,
}

impl Scanner<'_> {
    fn step(&mut self) {
        let rest = self.rest;
        if rest.starts_with("//") {
            self.blank(rest.find('\n').unwrap_or(rest.len()));
        } else if rest.starts_with("/*") {
            self.blank(block_comment(rest));
        } else if let Some(length) = raw_string(rest).filter(|_| self.at_word_start()) {
            self.blank(length);
        } else if rest.starts_with('"') {
            self.blank(quoted(rest, '"'));
        } else if is_char_literal(rest) {
            self.blank(quoted(rest, '\''));
        } else {
            let length = rest.chars().next().map_or(0, char::len_utf8);
            self.out.push_str(&rest[..length]);
            self.rest = &rest[length..];
        }
    }

    fn blank(&mut self, length: usize) {
        let blanked =
            self.rest[..length].chars().map(|symbol| if symbol == '\n' { '\n' } else { ' ' });
        self.out.extend(blanked);
        self.rest = &self.rest[length..];
    }

    fn at_word_start(&self) -> bool {
        !self.out.ends_with(|symbol: char| symbol.is_alphanumeric() || symbol == '_')
    }
}

/// Length of a block comment; they nest.
fn block_comment(text: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < text.len() {
        if text[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if text[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += text[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

/// Length of `r"..."`, `r#"..."#`, `br"..."`, `cr"..."`, if one starts here.
fn raw_string(text: &str) -> Option<usize> {
    let prefix = ["r", "br", "cr"].into_iter().find(|prefix| {
        text.strip_prefix(prefix).is_some_and(|rest| rest.starts_with(['"', '#']))
    })?;
    let hashes = text[prefix.len()..].bytes().take_while(|byte| *byte == b'#').count();
    let start = prefix.len() + hashes;
    // `r#name` is an identifier.
    text[start..].starts_with('"').then_some(())?;
    let end = format!("\"{}", "#".repeat(hashes));
    let body = start + 1;
    Some(text[body..].find(&end).map_or(text.len(), |at| body + at + end.len()))
}

/// Length of a literal between `quote`s, the quotes included.
fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, symbol) in text.char_indices().skip(1) {
        if escaped {
            escaped = false;
        } else if symbol == '\\' {
            escaped = true;
        } else if symbol == quote {
            return at + symbol.len_utf8();
        }
    }
    text.len()
}

/// `'a'` and `'\n'` are literals, `'a` is a lifetime.
fn is_char_literal(text: &str) -> bool {
    let mut symbols = text.chars();
    if symbols.next() != Some('\'') {
        return false;
    }
    matches!((symbols.next(), symbols.next()), (Some('\\'), _) | (Some(_), Some('\'')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_blanked_and_code_stays() {
        let cases = [
            ("a // unsafe\nb", "a          \nb"),
            ("a /* x /* y */ z */ b", "a                   b"),
            (r#"f("} \" {", x)"#, "f(        , x)"),
            (r###"f(r#"" unsafe"#, x)"###, "f(             , x)"),
            ("x = '{'; y = '\\''; z", "x =    ; y =     ; z"),
            ("fn f<'a>(x: &'a str) {}", "fn f<'a>(x: &'a str) {}"),
            ("let r#type = bar\"x\"", "let r#type = bar   "),
        ];
        for (text, wanted) in cases {
            assert_eq!(code_only(text), wanted, "{text}");
        }
    }

    #[test]
    fn unfinished_text_ends_at_its_end() {
        for text in ["\"abc", "/* abc", "r#\"abc\"", "'\\", "//"] {
            assert_eq!(code_only(text).trim(), "", "{text}");
        }
        assert_eq!(code_only("ü \"ü\nü\" ü"), "ü   \n   ü");
    }
}
