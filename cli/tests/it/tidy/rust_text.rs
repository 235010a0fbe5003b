//! Reads Rust source as words, without comments and literals.
//!
//! It finds where code ends and text begins, which is all that the rules need; it does not parse.

/// Words and `::` of each line of Rust code, comments and literals left out, lines counted from 1.
pub(super) fn words_per_line(source: &str) -> impl Iterator<Item = (usize, Vec<String>)> {
    let code = without_comments_and_literals(source);
    let lines: Vec<_> = code.lines().map(words).collect();
    lines.into_iter().enumerate().map(|(index, words)| (index + 1, words))
}

fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = line;
    while let Some(first) = rest.chars().next() {
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        let length = if is_word(first) {
            rest.find(|c| !is_word(c)).unwrap_or(rest.len())
        } else if rest.starts_with("::") {
            2
        } else {
            first.len_utf8()
        };
        let (word, after) = rest.split_at(length);
        if is_word(first) || word == "::" {
            words.push(word.to_owned());
        }
        rest = after;
    }
    words
}

/// Rust source with comments and the text of literals removed and every line break kept.
fn without_comments_and_literals(source: &str) -> String {
    let mut code = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let skipped = skippable(rest, code.chars().next_back());
        let length = skipped.unwrap_or(first.len_utf8());
        let (piece, after) = rest.split_at(length);
        if skipped.is_some() {
            // a blank keeps the words on both sides apart
            code.push(' ');
            code.extend(piece.chars().filter(|c| *c == '\n'));
        } else {
            code.push_str(piece);
        }
        rest = after;
    }
    code
}

/// Length of the comment or literal that `rest` starts with; `before` is the character in front of it.
fn skippable(rest: &str, before: Option<char>) -> Option<usize> {
    let starts_word = !before.is_some_and(|c| c.is_alphanumeric() || c == '_');
    if rest.starts_with("//") {
        Some(rest.find('\n').unwrap_or(rest.len()))
    } else if rest.starts_with("/*") {
        Some(block_comment(rest))
    } else if rest.starts_with('"') {
        Some(quoted(rest, '"'))
    } else if rest.starts_with('\'') {
        // 'a' and '\n' are characters, 'a in front of anything else is a lifetime
        let is_char = rest.starts_with("'\\") || rest.chars().nth(2) == Some('\'');
        is_char.then(|| quoted(rest, '\''))
    } else if starts_word {
        raw_string(rest)
    } else {
        None
    }
}

/// Block comments nest.
fn block_comment(rest: &str) -> usize {
    let mut depth = 0_usize;
    for (index, pair) in rest.as_bytes().windows(2).enumerate() {
        match pair {
            b"/*" => depth += 1,
            b"*/" => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 && pair == b"*/" {
            return index + 2;
        }
    }
    rest.len()
}

fn quoted(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (index, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == quote => return index + 1,
            _ => {}
        }
    }
    rest.len()
}

fn raw_string(rest: &str) -> Option<usize> {
    let prefix = ["r", "br", "cr"].into_iter().find(|prefix| rest.starts_with(*prefix))?;
    let hashes: String = rest[prefix.len()..].chars().take_while(|c| *c == '#').collect();
    let open = prefix.len() + hashes.len();
    rest[open..].strip_prefix('"')?;
    let close = format!("\"{hashes}");
    Some(rest[open + 1..].find(&close).map_or(rest.len(), |at| open + 1 + at + close.len()))
}
