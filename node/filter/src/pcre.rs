//! Regular expressions: MongoDB's, which are PCRE's, for an engine whose time is linear in the text.
//!
//! The one place that decides options, sizes and what is refused. A pattern is rewritten where the two differ: `\w`, `\d`, `\s` and `\b`
//! are of ASCII, classes neither nest nor intersect, blanks in them count. What has no equal is refused, with the reason.

use std::iter::Peekable;
use std::str::Chars;

use regex::{Regex, RegexBuilder};

/// Bytes of a compiled regular expression, and of what its search keeps.
const MAX_BYTES: usize = 1 << 17;
/// Bytes of a pattern.
const MAX_PATTERN: usize = 1 << 13;

const NOT_LINEAR: &str = "it cannot be searched for in linear time";

/// Compiles a pattern with its options; the error says what is refused.
pub(crate) fn compile(pattern: &str, options: &str) -> Result<Regex, String> {
    if pattern.len() > MAX_PATTERN {
        return Err(format!("the regular expression has {} bytes, at most {MAX_PATTERN} are allowed", pattern.len()));
    }
    if pattern.contains('\0') {
        return Err("the regular expression has a null byte".to_owned());
    }
    let extended = options.contains('x');
    let rewritten = Rewriter { rest: pattern.chars().peekable(), out: String::new(), extended, quantified: true }.run();
    let rewritten = rewritten.map_err(|reason| format!("the regular expression is refused: {reason}"))?;
    let mut builder = RegexBuilder::new(&rewritten);
    builder.size_limit(MAX_BYTES).dfa_size_limit(MAX_BYTES).nest_limit(100);
    for option in options.chars() {
        match option {
            'i' => builder.case_insensitive(true),
            'm' => builder.multi_line(true),
            's' => builder.dot_matches_new_line(true),
            'x' => builder.ignore_whitespace(true),
            'u' => &mut builder,
            other => return Err(format!("`{other}` is no option of a regular expression; allowed are i, m, s, x")),
        };
    }
    builder.build().map_err(|e| match e {
        regex::Error::CompiledTooBig(_) => "the regular expression is too large once compiled".to_owned(),
        e => {
            let e = e.to_string();
            let reason = e.lines().last().unwrap_or_default().trim_start_matches("error: ");
            format!("the regular expression is refused: {reason}")
        }
    })
}

struct Rewriter<'p> {
    rest: Peekable<Chars<'p>>,
    out: String,
    /// Whether blanks and comments are skipped.
    extended: bool,
    /// Whether what was read last cannot be repeated.
    quantified: bool,
}

type Done = Result<(), String>;

impl Rewriter<'_> {
    fn run(mut self) -> Result<String, String> {
        while let Some(c) = self.rest.next() {
            let repeats = matches!(c, '*' | '+' | '?') || (c == '{' && self.is_count());
            if repeats && self.quantified {
                return Err(format!("`{c}` has nothing to repeat"));
            }
            match c {
                '\\' => self.escape()?,
                '[' => self.class()?,
                '(' => self.group()?,
                '*' | '+' | '?' => self.out.push(c),
                '{' if repeats => {
                    self.out.push('{');
                    self.copy_braces();
                }
                '{' | '}' | ']' => self.literal(c),
                '#' if self.extended => self.comment('\n'),
                c => self.out.push(c),
            }
            if repeats {
                if self.rest.peek() == Some(&'+') {
                    return Err(format!("a possessive quantifier is not to be had: {NOT_LINEAR}"));
                }
                self.out.extend(self.rest.next_if_eq(&'?'));
            }
            let skipped = self.extended && (c.is_ascii_whitespace() || c == '#');
            if !skipped {
                self.quantified = repeats || matches!(c, '|' | '(' | '^' | '$');
            }
        }
        Ok(self.out)
    }

    fn literal(&mut self, c: char) {
        match c {
            c if c.is_ascii_alphanumeric() || !c.is_ascii() || matches!(c, '<' | '>' | '_') => self.out.push(c),
            c if c.is_ascii_punctuation() => self.out.extend(['\\', c]),
            c => self.out += &format!("\\x{{{:x}}}", u32::from(c)),
        }
    }

    /// Whether a count such as `{2}`, `{2,}` or `{2,5}` follows; any other brace stands for itself.
    fn is_count(&self) -> bool {
        let inside: String = self.rest.clone().take_while(|c| *c != '}').take(12).collect();
        let closed = self.rest.clone().nth(inside.chars().count()) == Some('}');
        let (least, most) = inside.split_once(',').unwrap_or((&inside, "0"));
        let number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        closed && number(least) && (most.is_empty() || number(most))
    }

    fn comment(&mut self, end: char) {
        self.rest.by_ref().find(|c| *c == end);
    }

    /// What follows an opening parenthesis.
    fn group(&mut self) -> Done {
        if self.rest.peek() == Some(&'*') {
            return Err("verbs such as (*UTF) are not to be had".to_owned());
        }
        if self.rest.next_if_eq(&'?').is_none() {
            self.out.push('(');
            return Ok(());
        }
        let ahead: String = self.rest.clone().take(2).collect();
        let mut letters = ahead.chars();
        match (letters.next(), letters.next()) {
            (Some('#'), _) => self.comment(')'),
            (Some('=' | '!'), _) | (Some('<'), Some('=' | '!')) => {
                return Err(format!("look-around is not to be had: {NOT_LINEAR}"));
            }
            (Some('>'), _) => return Err(format!("an atomic group is not to be had: {NOT_LINEAR}")),
            (Some(':' | '<'), _) | (Some('P'), Some('<')) => self.out += "(?",
            (Some('i' | 'm' | 's' | 'x' | 'U' | '-' | ')'), _) => self.flags()?,
            _ => return Err(format!("`(?{ahead}` is not to be had")),
        }
        Ok(())
    }

    fn flags(&mut self) -> Done {
        if self.rest.next_if_eq(&')').is_some() {
            return Ok(());
        }
        self.out += "(?";
        let mut on = true;
        for c in self.rest.by_ref() {
            self.out.push(c);
            match c {
                '-' => on = false,
                'x' => self.extended = on,
                'i' | 'm' | 's' | 'U' => {}
                ')' | ':' => return Ok(()),
                other => return Err(format!("`{other}` is no flag that is to be had")),
            }
        }
        Ok(())
    }

    /// What follows a backslash outside of a class.
    fn escape(&mut self) -> Done {
        let c = self.escaped()?;
        match c {
            'b' => self.out += "(?-u:\\b)",
            'B' | 'A' | 'z' => self.out.extend(['\\', c]),
            'N' => self.out += "[^\\n]",
            'R' => self.out += "(?:\\r\\n|[\\n-\\r\\x{85}\\x{2028}\\x{2029}])",
            'Q' => self.quoted(),
            'E' => {}
            'Z' => return Err("`\\Z` is not to be had; use `\\z`".to_owned()),
            c => match set(c) {
                Some((negated, set)) => {
                    let not = if negated { "^" } else { "" };
                    self.out += &format!("(?-i:[{not}{set}])");
                }
                None => return self.character(c),
            },
        }
        Ok(())
    }

    /// What stands for itself up to `\\E`.
    fn quoted(&mut self) {
        while let Some(c) = self.rest.next() {
            if c == '\\' && self.rest.next_if_eq(&'E').is_some() {
                return;
            }
            self.literal(c);
        }
    }

    fn escaped(&mut self) -> Result<char, String> {
        self.rest.next().ok_or_else(|| "it ends in a backslash".to_owned())
    }

    /// An escape that stands for a character or a property, in a class or outside.
    fn character(&mut self, c: char) -> Done {
        match c {
            'a' | 'f' | 'n' | 'r' | 't' => self.out.extend(['\\', c]),
            'e' => self.out += "\\x1b",
            'p' | 'P' => {
                self.out.extend(['\\', c]);
                if let Some(next) = self.rest.next() {
                    self.out.push(next);
                    if next == '{' {
                        self.copy_braces();
                    }
                }
            }
            'c' => match self.rest.next() {
                Some(c) if c.is_ascii_graphic() => {
                    self.out += &format!("\\x{{{:x}}}", u32::from(c.to_ascii_uppercase()) ^ 64);
                }
                _ => return Err("`\\c` needs a letter".to_owned()),
            },
            'x' if self.rest.peek() == Some(&'{') => self.out += "\\x",
            'x' => self.number(2, 16),
            '0' => self.number(2, 8),
            '1'..='9' => return Err(format!("back-references are not to be had: {NOT_LINEAR}")),
            c if c.is_ascii_alphanumeric() => return Err(format!("`\\{c}` is not to be had")),
            c => self.literal(c),
        }
        if c == 'x' && self.rest.peek() == Some(&'{') {
            self.copy_braces();
        }
        Ok(())
    }

    /// Copies up to a closing brace.
    fn copy_braces(&mut self) {
        for c in self.rest.by_ref() {
            self.out.push(c);
            if c == '}' {
                break;
            }
        }
    }

    fn number(&mut self, most: usize, radix: u32) {
        let mut value = 0;
        for _ in 0..most {
            let Some(digit) = self.rest.peek().and_then(|c| c.to_digit(radix)) else { break };
            self.rest.next();
            value = value * radix + digit;
        }
        self.out += &format!("\\x{{{value:x}}}");
    }

    /// What follows an opening bracket.
    fn class(&mut self) -> Done {
        if self.posix_name().is_some() {
            return Err("a class such as `[:alpha:]` stands within another: `[[:alpha:]]`".to_owned());
        }
        self.out.push('[');
        self.out.extend(self.rest.next_if_eq(&'^'));
        if self.rest.next_if_eq(&']').is_some() {
            self.out += "\\]";
        }
        while let Some(c) = self.rest.next() {
            match c {
                ']' => {
                    self.out.push(']');
                    return Ok(());
                }
                '[' => self.posix()?,
                '\\' => {
                    let set_read = self.class_escape()?;
                    // Behind a set, a dash is no range.
                    if set_read && self.rest.next_if_eq(&'-').is_some() {
                        self.out += "\\-";
                    }
                }
                '-' if self.rest.peek() == Some(&'-') => self.out += "\\-",
                '-' => self.out.push('-'),
                c => self.literal(c),
            }
        }
        Err("a class is not closed".to_owned())
    }

    /// The name in `:name:]`, if that follows.
    fn posix_name(&self) -> Option<String> {
        let ahead: String = self.rest.clone().take(12).collect();
        let (name, _) = ahead.strip_prefix(':')?.split_once(":]")?;
        name.bytes().all(|b| b.is_ascii_lowercase() || b == b'^').then(|| name.to_owned())
    }

    /// `[:alpha:]` within a class; any other bracket stands for itself.
    fn posix(&mut self) -> Done {
        const NAMES: &str = " alnum alpha ascii blank cntrl digit graph lower print punct space upper word xdigit ";
        let Some(name) = self.posix_name() else {
            self.out += "\\[";
            return Ok(());
        };
        if !NAMES.contains(&format!(" {} ", name.strip_prefix('^').unwrap_or(&name))) {
            return Err(format!("`[:{name}:]` is no class"));
        }
        self.out += &format!("[:{name}:]");
        self.rest.by_ref().nth(name.len() + 2);
        Ok(())
    }

    /// What follows a backslash in a class; true when it was a set of characters.
    fn class_escape(&mut self) -> Result<bool, String> {
        let c = self.escaped()?;
        if let Some((negated, set)) = set(c) {
            self.out += &if negated { format!("[^{set}]") } else { set.to_owned() };
            return Ok(true);
        }
        match c {
            'b' => self.out += "\\x08",
            c => self.character(c)?,
        }
        Ok(matches!(c, 'p' | 'P'))
    }
}

/// The characters of a set such as `\d`, and whether it is all others.
fn set(c: char) -> Option<(bool, &'static str)> {
    let set = match c.to_ascii_lowercase() {
        'd' => "0-9",
        'w' => "0-9A-Za-z_",
        's' => "\\t-\\r\\x20",
        'h' => "\\t\\x20\\x{a0}\\x{1680}\\x{180e}\\x{2000}-\\x{200a}\\x{202f}\\x{205f}\\x{3000}",
        'v' => "\\n-\\r\\x{85}\\x{2028}\\x{2029}",
        _ => return None,
    };
    Some((c.is_ascii_uppercase(), set))
}
