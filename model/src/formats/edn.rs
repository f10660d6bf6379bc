//! A reader of EDN, the notation that Jepsen and Knossos write histories in.
//!
//! It reads one form after another from a text and says at which byte a fault is. Nesting is bounded, so that no text
//! can exhaust the stack; tags are read and dropped (`#jepsen.history.Op{...}` is the map); numbers that are not 64-bit
//! integers keep their text. It does not know what a history is.

/// How deep forms may be nested.
const DEPTH_MAX: u32 = 64;

/// One form.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Edn {
    Nil,
    Bool(bool),
    Int(i64),
    /// A number that is no 64-bit integer, a character or a symbol, as it was written.
    Other(String),
    Keyword(String),
    Text(String),
    /// A vector or a list: histories use either for the same.
    Sequence(Vec<Self>),
    Set(Vec<Self>),
    Map(Vec<(Self, Self)>),
}

impl Edn {
    /// What an error message calls it.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Nil => "nil",
            Self::Bool(_) => "a boolean",
            Self::Int(_) => "an integer",
            Self::Other(_) => "a symbol or number",
            Self::Keyword(_) => "a keyword",
            Self::Text(_) => "a string",
            Self::Sequence(_) => "a vector",
            Self::Set(_) => "a set",
            Self::Map(_) => "a map",
        }
    }
}

impl std::fmt::Display for Edn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let list = |f: &mut std::fmt::Formatter<'_>, open: &str, items: &[Self], close: &str| {
            f.write_str(open)?;
            for (at, item) in items.iter().enumerate() {
                write!(f, "{}{item}", if at == 0 { "" } else { " " })?;
            }
            f.write_str(close)
        };
        match self {
            Self::Nil => f.write_str("nil"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Int(value) => write!(f, "{value}"),
            Self::Other(text) => f.write_str(text),
            Self::Keyword(name) => write!(f, ":{name}"),
            Self::Text(text) => write!(f, "{text:?}"),
            Self::Sequence(items) => list(f, "[", items, "]"),
            Self::Set(items) => list(f, "#{", items, "}"),
            Self::Map(entries) => {
                f.write_str("{")?;
                for (at, (key, value)) in entries.iter().enumerate() {
                    write!(f, "{}{key} {value}", if at == 0 { "" } else { ", " })?;
                }
                f.write_str("}")
            }
        }
    }
}

/// Why a text is not EDN, and at which byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) at: usize,
    pub(super) reason: String,
}

/// Reads forms from a text.
pub(super) struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// The byte that the next form begins at, or `None` at the end.
    pub(super) fn peek(&mut self) -> Result<Option<(usize, u8)>, Fault> {
        self.skip(0)?;
        Ok(self.text.as_bytes().get(self.at).map(|&byte| (self.at, byte)))
    }

    /// Steps over one byte that `peek` has shown to be a bracket.
    pub(super) fn bump(&mut self) {
        self.at += 1;
    }

    /// The next form, or `None` at the end.
    pub(super) fn next_form(&mut self) -> Result<Option<Edn>, Fault> {
        match self.peek()? {
            None => Ok(None),
            Some(_) => self.form(0).map(Some),
        }
    }

    fn fault<T>(&self, at: usize, reason: impl Into<String>) -> Result<T, Fault> {
        Err(Fault { at, reason: reason.into() })
    }

    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// Skips blanks, commas, comments and discarded forms.
    fn skip(&mut self, depth: u32) -> Result<(), Fault> {
        loop {
            let rest = &self.text[self.at..];
            let Some(next) = rest.chars().next() else { return Ok(()) };
            if next == ';' {
                self.at += rest.find('\n').unwrap_or(rest.len());
            } else if next == ',' || next.is_whitespace() || next == '\u{feff}' {
                self.at += next.len_utf8();
            } else if rest.starts_with("#_") {
                self.at += 2;
                self.form(depth + 1)?;
            } else {
                return Ok(());
            }
        }
    }

    fn form(&mut self, depth: u32) -> Result<Edn, Fault> {
        if depth > DEPTH_MAX {
            return self.fault(self.at, format!("forms are nested more than {DEPTH_MAX} deep"));
        }
        self.skip(depth)?;
        let start = self.at;
        match self.byte() {
            None => self.fault(start, "the text ends where a form was expected"),
            Some(b'[') => Ok(Edn::Sequence(self.items(1, b']', depth)?)),
            Some(b'(') => Ok(Edn::Sequence(self.items(1, b')', depth)?)),
            Some(b'{') => self.map(depth),
            Some(b'"') => self.string().map(Edn::Text),
            Some(b'\\') => self.character(),
            Some(b'#') if self.text[start..].starts_with("#{") => Ok(Edn::Set(self.items(2, b'}', depth)?)),
            Some(b'#') => {
                self.at += 1;
                if self.token().is_empty() {
                    return self.fault(start, "'#' is followed by no tag");
                }
                self.form(depth + 1)
            }
            Some(b']' | b')' | b'}') => self.fault(start, "a closing bracket has no opening one"),
            Some(_) => {
                let token = self.token();
                match atom(token) {
                    Some(form) => Ok(form),
                    None => self.fault(start, format!("'{}' is not EDN", token.escape_debug())),
                }
            }
        }
    }

    /// Forms up to `close`, after `opening` bytes.
    fn items(&mut self, opening: usize, close: u8, depth: u32) -> Result<Vec<Edn>, Fault> {
        let start = self.at;
        self.at += opening;
        let mut items = Vec::new();
        loop {
            self.skip(depth)?;
            match self.byte() {
                None => return self.fault(start, "a bracket is opened and never closed"),
                Some(byte) if byte == close => {
                    self.at += 1;
                    return Ok(items);
                }
                Some(_) => items.push(self.form(depth + 1)?),
            }
        }
    }

    fn map(&mut self, depth: u32) -> Result<Edn, Fault> {
        let start = self.at;
        let mut items = self.items(1, b'}', depth)?.into_iter();
        let mut entries = Vec::with_capacity(items.len() / 2);
        while let Some(key) = items.next() {
            let Some(value) = items.next() else {
                return self.fault(start, format!("the map's key {key} has no value"));
            };
            entries.push((key, value));
        }
        Ok(Edn::Map(entries))
    }

    fn string(&mut self) -> Result<String, Fault> {
        let start = self.at;
        self.at += 1;
        let mut text = String::new();
        loop {
            let rest = &self.text[self.at..];
            let Some(end) = rest.find(['"', '\\']) else {
                return self.fault(start, "a string is opened and never closed");
            };
            text.push_str(&rest[..end]);
            self.at += end + 1;
            if rest.as_bytes()[end] == b'"' {
                return Ok(text);
            }
            let Some(escaped) = self.text[self.at..].chars().next() else {
                return self.fault(start, "a string is opened and never closed");
            };
            self.at += escaped.len_utf8();
            text.push(match escaped {
                'n' => '\n',
                't' => '\t',
                'r' => '\r',
                'b' => '\u{8}',
                'f' => '\u{c}',
                '"' | '\\' | '/' | '\'' => escaped,
                'u' => self.code_unit()?,
                _ => return self.fault(self.at - escaped.len_utf8() - 1, "an escape in a string is unknown"),
            });
        }
    }

    /// The character of four hexadecimal digits, and of eight more bytes when it is one half of a pair.
    fn code_unit(&mut self) -> Result<char, Fault> {
        let start = self.at;
        let first = self.four_digits()?;
        let mut units = vec![first];
        if (0xD800..0xDC00).contains(&first) && self.text[self.at..].starts_with("\\u") {
            self.at += 2;
            units.push(self.four_digits()?);
        }
        match char::decode_utf16(units).next() {
            Some(Ok(decoded)) => Ok(decoded),
            _ => self.fault(start, "'\\u' is followed by half of a character"),
        }
    }

    fn four_digits(&mut self) -> Result<u16, Fault> {
        let digits = self.text.get(self.at..self.at + 4).filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()));
        let Some(digits) = digits else {
            return self.fault(self.at, "'\\u' is not followed by four hexadecimal digits");
        };
        self.at += 4;
        Ok(u16::from_str_radix(digits, 16).expect("four hexadecimal digits fit in 16 bits"))
    }

    fn character(&mut self) -> Result<Edn, Fault> {
        let start = self.at;
        self.at += 1;
        let Some(first) = self.text[self.at..].chars().next().filter(|first| !first.is_whitespace()) else {
            return self.fault(start, "'\\' is followed by no character");
        };
        self.at += first.len_utf8();
        self.token();
        Ok(Edn::Other(self.text[start..self.at].to_owned()))
    }

    /// The text up to the next blank, bracket, quote or comment.
    fn token(&mut self) -> &'a str {
        let rest = &self.text[self.at..];
        let ends = |next: char| next.is_whitespace() || "[](){}\",;\\".contains(next);
        let token = &rest[..rest.find(ends).unwrap_or(rest.len())];
        self.at += token.len();
        token
    }
}

fn atom(token: &str) -> Option<Edn> {
    match token {
        "nil" => return Some(Edn::Nil),
        "true" => return Some(Edn::Bool(true)),
        "false" => return Some(Edn::Bool(false)),
        _ => {}
    }
    if let Some(name) = token.strip_prefix(':') {
        let name = name.strip_prefix(':').unwrap_or(name);
        return (!name.is_empty() && !name.starts_with(':')).then(|| Edn::Keyword(name.to_owned()));
    }
    let digits = token.strip_prefix(['-', '+']).unwrap_or(token);
    if digits.starts_with(|first: char| first.is_ascii_digit()) {
        let plain = token.strip_suffix('N').unwrap_or(token);
        if let Ok(number) = plain.parse() {
            return Some(Edn::Int(number));
        }
        let is_number = digits.chars().all(|c| c.is_ascii_alphanumeric() || "+-./".contains(c));
        return is_number.then(|| Edn::Other(token.to_owned()));
    }
    let is_symbol = !token.is_empty() && token.chars().all(|c| c.is_alphanumeric() || "+-*/!?_$%&=<>.:#'|".contains(c));
    is_symbol.then(|| Edn::Other(token.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<String, String> {
        let mut reader = Reader::new(text);
        let mut forms = Vec::new();
        loop {
            match reader.next_form() {
                Ok(Some(form)) => forms.push(form.to_string()),
                Ok(None) => return Ok(forms.join(" ")),
                Err(fault) => return Err(format!("{}: {}", fault.at, fault.reason)),
            }
        }
    }

    #[test]
    fn forms_are_read_as_they_are_written() {
        for (text, expect) in [
            ("", ""),
            ("nil true false", "nil true false"),
            ("1 -2 +3 4N", "1 -2 3 4"),
            ("1.5 2/3 1e9 99999999999999999999", "1.5 2/3 1e9 99999999999999999999"),
            (":a :b/c ::d", ":a :b/c :d"),
            ("[1, 2 (3)] ; and\n #{4}", "[1 2 [3]] #{4}"),
            ("{:a 1 :b nil}", "{:a 1, :b nil}"),
            ("#inst \"x\" #op{:a 1}", "\"x\" {:a 1}"),
            ("#_ [1 2] 3 [#_4]", "3 []"),
            (r#""a\n\"\u00e9\ud83d\ude00""#, "\"a\\n\\\"é😀\""),
            (r"\a \newline \[", r"\a \newline \["),
            ("a-symbol =", "a-symbol ="),
        ] {
            assert_eq!(read(text).as_deref(), Ok(expect), "{text}");
        }
    }

    #[test]
    fn faults_say_where_and_why() {
        for (text, expect) in [
            ("[1 2", "0: a bracket is opened and never closed"),
            (" ]", "1: a closing bracket has no opening one"),
            ("[1 }", "3: a closing bracket has no opening one"),
            ("{:a}", "0: the map's key :a has no value"),
            ("\"abc", "0: a string is opened and never closed"),
            ("\"abc\\", "0: a string is opened and never closed"),
            ("\"\\q\"", "1: an escape in a string is unknown"),
            ("\"\\u12\"", "3: '\\u' is not followed by four hexadecimal digits"),
            ("\"\\udc00\"", "3: '\\u' is followed by half of a character"),
            (":", "0: ':' is not EDN"),
            ("1a§", "0: '1a§' is not EDN"),
            ("#", "0: '#' is followed by no tag"),
            ("#tag", "4: the text ends where a form was expected"),
            ("#_", "2: the text ends where a form was expected"),
            ("\\", "0: '\\' is followed by no character"),
        ] {
            assert_eq!(read(text), Err(expect.to_owned()), "{text}");
        }
        let deep = read(&"[".repeat(100_000)).unwrap_err();
        assert!(deep.contains("nested more than 64 deep"), "{deep}");
        assert!(read(&"#_".repeat(100_000)).is_err());
        assert!(read(&"#a ".repeat(100_000)).is_err());
    }
}
