//! The rules of getopt(3), as far as netperf's two option sets depend on them.
//!
//! Cuts words into option letters and their arguments by a table, and words the two complaints as glibc does.
//! What an option means is not known here.
//!
//! Not lexopt, which netserver's options are read with: there, `-l=5` loses its equals sign, `--help` is one
//! option instead of the letter `-` and four others, letters are characters instead of bytes, and an option
//! cannot look at the next word before it decides whether that is its argument. What one letter swallows
//! decides how the rest of the line is read, so it has to be exact.

use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::ops::Deref;
use std::os::unix::ffi::OsStrExt;

/// What follows an option letter. The text stands for the argument in usage and manual pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Argument {
    /// Nothing.
    None,
    /// The rest of the word, or else the next word, whatever it is.
    Required(&'static str),
    /// The next word if it starts with a digit; never the rest of this one.
    Digits(&'static str),
    /// The next word unless it starts with `-`; never the rest of this one.
    Word(&'static str),
}

/// An option: how it is read, what it means to a user, and what it does to a state `S`.
#[derive(Debug)]
pub(crate) struct Entry<S> {
    /// The letter.
    pub(crate) letter: u8,
    /// What follows it.
    pub(crate) argument: Argument,
    /// What it is good for, in a phrase.
    pub(crate) meaning: &'static str,
    /// Takes it, with its argument; an absent argument is empty.
    pub(super) apply: fn(&mut S, &Value<'_>),
}

impl<S> Entry<S> {
    /// An option without argument.
    pub(super) const fn flag(letter: u8, meaning: &'static str, apply: fn(&mut S, &Value<'_>)) -> Self {
        Self { letter, argument: Argument::None, meaning, apply }
    }

    /// An option with an argument.
    pub(super) const fn takes(
        letter: u8,
        argument: &'static str,
        meaning: &'static str,
        apply: fn(&mut S, &Value<'_>),
    ) -> Self {
        Self { letter, argument: Argument::Required(argument), meaning, apply }
    }
}

/// An option's argument. As text, it has replacement characters for what is not UTF-8.
#[derive(Debug)]
pub(super) struct Value<'a> {
    /// As typed.
    pub(super) raw: &'a OsStr,
    text: Cow<'a, str>,
}

impl<'a> Value<'a> {
    /// The argument `bytes` of a command line.
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        let raw = OsStr::from_bytes(bytes);
        Self { raw, text: raw.to_string_lossy() }
    }
}

impl Deref for Value<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.text
    }
}

/// Reads a command line from the front to its end or to `--`. Words that are no options are passed over, and
/// so is a single `-`.
#[derive(Debug)]
pub(super) struct Getopt<'a> {
    words: &'a [OsString],
    /// The word under way, or the next one.
    at: usize,
    /// Bytes of that word already read; 0 before it.
    read: usize,
}

impl<'a> Getopt<'a> {
    /// Begins before the first of `words`.
    pub(super) fn new(words: &'a [OsString]) -> Self {
        Self { words, at: 0, read: 0 }
    }

    /// The next option of `table` and its argument, or the letter's complaint without the program's name;
    /// `None` at the end.
    pub(super) fn next<'t, S>(
        &mut self,
        table: &'t [Entry<S>],
    ) -> Option<Result<(&'t Entry<S>, Value<'a>), String>> {
        let (letter, attached) = self.letter()?;
        let Some(entry) = table.iter().find(|entry| entry.letter == letter) else {
            return Some(Err(format!("invalid option -- '{}'", printable(letter))));
        };
        let value = match entry.argument {
            Argument::None => None,
            Argument::Required(_) if !attached.is_empty() => {
                self.end_word();
                Some(attached)
            }
            Argument::Required(_) => match self.next_word(|_| true) {
                Some(word) => Some(word),
                None => {
                    let complaint = format!("option requires an argument -- '{}'", printable(letter));
                    return Some(Err(complaint));
                }
            },
            Argument::Digits(_) => self.next_word(|word| word.first().is_some_and(u8::is_ascii_digit)),
            Argument::Word(_) => self.next_word(|word| word.first() != Some(&b'-')),
        };
        Some(Ok((entry, Value::new(value.unwrap_or_default()))))
    }

    /// The words after the `--` that ended the reading; none if nothing but the end did.
    pub(super) fn rest(self) -> &'a [OsString] {
        self.words.get(self.at..).unwrap_or_default()
    }

    /// The next letter, and the bytes that follow it in its word.
    fn letter(&mut self) -> Option<(u8, &'a [u8])> {
        if self.read == 0 {
            loop {
                match self.words.get(self.at)?.as_bytes() {
                    b"--" => {
                        self.at += 1;
                        return None;
                    }
                    [b'-', _, ..] => break,
                    _ => self.at += 1,
                }
            }
            self.read = 1;
        }
        let word = self.words.get(self.at)?.as_bytes();
        let (letter, attached) = word.get(self.read..)?.split_first()?;
        self.read += 1;
        if attached.is_empty() {
            self.end_word();
        }
        Some((*letter, attached))
    }

    fn end_word(&mut self) {
        self.at += 1;
        self.read = 0;
    }

    /// Takes the next word if `wanted`. In the middle of a group of letters, that is the group itself, which
    /// starts with `-`: netperf looks at it the same way.
    fn next_word(&mut self, wanted: impl Fn(&[u8]) -> bool) -> Option<&'a [u8]> {
        if self.read != 0 {
            return None;
        }
        let word = self.words.get(self.at)?.as_bytes();
        wanted(word).then(|| {
            self.at += 1;
            word
        })
    }
}

/// The letter of a complaint; getopt prints any byte as it is.
fn printable(letter: u8) -> char {
    if letter.is_ascii() { char::from(letter) } else { char::REPLACEMENT_CHARACTER }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn entry(letter: u8, argument: Argument) -> Entry<()> {
        Entry { letter, argument, meaning: "", apply: |(), _| {} }
    }

    const TABLE: &[Entry<()>] = &[
        entry(b'c', Argument::Digits("rate")),
        entry(b'k', Argument::Word("list")),
        entry(b'l', Argument::Required("length")),
        entry(b'T', Argument::Required("cpu")),
        entry(b'N', Argument::None),
    ];

    /// Options as `letter=argument`, complaints as they are, then what is left.
    fn read(words: &[&str]) -> (Vec<String>, Vec<String>) {
        let words: Vec<OsString> = words.iter().map(Into::into).collect();
        let mut getopt = Getopt::new(&words);
        let mut found = Vec::new();
        while let Some(next) = getopt.next(TABLE) {
            found.push(match next {
                Ok((entry, value)) => format!("{}={}", char::from(entry.letter), &*value),
                Err(complaint) => complaint,
            });
        }
        (found, getopt.rest().iter().map(|word| word.to_string_lossy().into_owned()).collect())
    }

    #[test]
    fn words_become_letters_and_arguments() {
        let cases: &[(&[&str], &[&str], &[&str])] = &[
            (&[], &[], &[]),
            (&["-l5", "-l", "6", "-l=7"], &["l=5", "l=6", "l==7"], &[]),
            (&["-Nl5", "-NN"], &["N=", "l=5", "N=", "N="], &[]),
            (&["-Nl", "5"], &["N=", "l=5"], &[]),
            (&["stray", "-l", "5", "-", "x", "-N"], &["l=5", "N="], &[]),
            (&["-N", "x", "--", "-l", "5", "--"], &["N="], &["-l", "5", "--"]),
            (&["-l", "--", "-N"], &["l=--", "N="], &[]),
            (&["-l", ""], &["l="], &[]),
            (&["-c", "3x", "-c", "x", "-c", "-N"], &["c=3x", "c=", "c=", "N="], &[]),
            (&["-c3"], &["c=", "invalid option -- '3'"], &[]),
            (&["-cN", "3"], &["c=", "N="], &[]),
            (&["-Nc", "3"], &["N=", "c=3"], &[]),
            (&["-k"], &["k="], &[]),
            (&["-k", "a,b", "-k", "-N", "-kN", "x"], &["k=a,b", "k=", "N=", "k=", "N="], &[]),
            (&["-kTHROUGHPUT"], &["k=", "T=HROUGHPUT"], &[]),
            (&["-k", "--", "-N"], &["k="], &["-N"]),
            (
                &["--nel"],
                &[
                    "invalid option -- '-'",
                    "invalid option -- 'n'",
                    "invalid option -- 'e'",
                    "option requires an argument -- 'l'",
                ],
                &[],
            ),
            (&["-l"], &["option requires an argument -- 'l'"], &[]),
            (&["-:"], &["invalid option -- ':'"], &[]),
            (&["-é"], &["invalid option -- '\u{fffd}'", "invalid option -- '\u{fffd}'"], &[]),
        ];
        for (words, found, rest) in cases {
            let expected = (
                found.iter().map(ToString::to_string).collect(),
                rest.iter().map(ToString::to_string).collect(),
            );
            assert_eq!(read(words), expected, "{words:?}");
        }
    }
}
