//! A Rust file as the checks see it: its code with comments and literals blanked out, its comments and string literals by
//! line, and which of its lines are tests. A small lexer, no parser: it must not fail on code that does not compile.

use std::ops::RangeInclusive;

pub struct Source {
    pub path: String,
    pub text: String,
    /// The text's lines with comments, strings and characters replaced by spaces. Quotes stay.
    pub code: Vec<String>,
    /// The comment text of each line.
    pub comments: Vec<String>,
    /// String literals: 1-based line, and content.
    pub strings: Vec<(usize, String)>,
    /// Lines of `#[cfg(test)]` items, 1-based.
    test_lines: Vec<RangeInclusive<usize>>,
    /// The file is a test as a whole.
    pub is_test: bool,
}

impl Source {
    pub fn new(path: String, text: String) -> Self {
        let mut lexer = Lexer::new(&text);
        lexer.run();
        let code: Vec<String> = lexer.code.lines().map(str::to_owned).collect();
        let comments = text
            .lines()
            .enumerate()
            .map(|(i, _)| lexer.comments.get(i).cloned().unwrap_or_default())
            .collect();
        let strings = lexer.strings;
        let test_lines = test_items(&code);
        let folders = ["tests", "benches", "e2e", "sim", "testing"];
        let names = |part: &str| folders.contains(&part) || part.ends_with("_tests");
        let is_test = path.split('/').any(|part| names(part.trim_end_matches(".rs")));
        Self {
            path,
            text,
            code,
            comments,
            strings,
            test_lines,
            is_test,
        }
    }

    /// Whether a 1-based line is test code.
    pub fn is_test_line(&self, line: usize) -> bool {
        self.is_test || self.test_lines.iter().any(|range| range.contains(&line))
    }

    /// The comment on a 1-based line, or in the block of comments and attributes right above it.
    pub fn comment_at(&self, line: usize) -> String {
        let mut found = self.comments[line - 1].clone();
        for above in (0..line - 1).rev() {
            let code = self.code[above].trim();
            if self.comments[above].is_empty() && !code.starts_with("#[")
                || !code.is_empty() && !code.starts_with("#[")
            {
                break;
            }
            found = format!("{} {found}", self.comments[above]);
        }
        found
    }

    /// 1-based line of the brace that closes the first one opened at or after `line`; none when a `;` comes first.
    pub fn end_of_block(&self, line: usize) -> Option<usize> {
        end_of_block(&self.code, line)
    }
}

/// Files that are modules declared as `#[cfg(test)] mod name;` are tests too.
pub fn mark_test_files(files: &mut [Source]) {
    let mut test_modules = Vec::new();
    for file in files.iter() {
        let (folder, name) = file.path.rsplit_once('/').unwrap_or(("", &file.path));
        let base = match name {
            "mod.rs" | "lib.rs" | "main.rs" => folder.to_owned(),
            _ => format!("{folder}/{}", name.trim_end_matches(".rs")),
        };
        for pair in file
            .code
            .windows(2)
            .filter(|pair| pair[0].trim() == "#[cfg(test)]")
        {
            let declared = pair[1].trim().trim_start_matches("pub ").strip_prefix("mod ");
            if let Some(module) = declared.and_then(|rest| rest.strip_suffix(';')) {
                test_modules.push(format!("{base}/{module}"));
            }
        }
    }
    for file in files.iter_mut() {
        let whole = |module: &String| {
            file.path
                .strip_prefix(module.as_str())
                .is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
        };
        file.is_test |= test_modules.iter().any(whole);
    }
}

/// Whether `word` stands in `code` as a word of its own.
pub fn has_word(code: &str, word: &str) -> bool {
    word_positions(code, word).next().is_some()
}

/// Where `word` stands in `code` as a word of its own, in bytes.
pub fn word_positions<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(word).map(|(at, _)| at).filter(move |&at| {
        let before = code[..at].chars().next_back().is_some_and(part);
        let after = code[at + word.len()..].chars().next().is_some_and(part);
        !before && !after
    })
}

fn test_items(code: &[String]) -> Vec<RangeInclusive<usize>> {
    let mut items = Vec::new();
    for (index, line) in code.iter().enumerate() {
        if (line.contains("#[cfg(test)]") || line.contains("#[test]") || line.contains("::test]"))
            && let Some(end) = end_of_block(code, index + 1)
        {
            items.push(index + 1..=end);
        }
    }
    items
}

fn end_of_block(code: &[String], line: usize) -> Option<usize> {
    let (mut depth, mut parens) = (0_i32, 0_i32);
    for (index, text) in code.iter().enumerate().skip(line - 1) {
        for c in text.chars() {
            match c {
                '(' | '[' => parens += 1,
                ')' | ']' => parens -= 1,
                '{' => depth += 1,
                '}' => {
                    depth -= 1;
                    if depth == 0 {
                        return Some(index + 1);
                    }
                }
                ';' if depth == 0 && parens == 0 => return None,
                _ => {}
            }
        }
    }
    None
}

/// Walks the characters once and sorts them into code, comments and strings.
struct Lexer {
    chars: Vec<char>,
    at: usize,
    line: usize,
    code: String,
    comments: Vec<String>,
    strings: Vec<(usize, String)>,
}

impl Lexer {
    fn new(text: &str) -> Self {
        let lines = text.lines().count();
        let comments = vec![String::new(); lines + 1];
        Self {
            chars: text.chars().collect(),
            at: 0,
            line: 1,
            code: String::new(),
            comments,
            strings: Vec::new(),
        }
    }

    fn run(&mut self) {
        while let Some(c) = self.peek(0) {
            match c {
                '/' if self.peek(1) == Some('/') => self.line_comment(),
                '/' if self.peek(1) == Some('*') => self.block_comment(),
                '"' => self.string(),
                'r' if self.starts_raw_string() => self.raw_string(),
                '\'' => self.character_or_lifetime(),
                _ => self.keep(),
            }
        }
    }

    fn peek(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at + ahead).copied()
    }

    fn step(&mut self) -> Option<char> {
        let c = self.peek(0)?;
        self.at += 1;
        self.line += usize::from(c == '\n');
        Some(c)
    }

    /// Steps over a character that is code.
    fn keep(&mut self) {
        let c = self.step();
        self.code.extend(c);
    }

    /// Steps over a character that is not code.
    fn blank(&mut self) -> Option<char> {
        let c = self.step()?;
        self.code.push(if c == '\n' { '\n' } else { ' ' });
        Some(c)
    }

    fn blank_many(&mut self, count: usize) {
        for _ in 0..count {
            self.blank();
        }
    }

    fn comment_char(&mut self) {
        let line = self.line - 1;
        if let (Some(c), Some(comment)) = (self.blank(), self.comments.get_mut(line)) {
            comment.extend((c != '\n').then_some(c));
        }
    }

    fn line_comment(&mut self) {
        while self.peek(0).is_some_and(|c| c != '\n') {
            self.comment_char();
        }
    }

    fn block_comment(&mut self) {
        let mut depth = 0;
        loop {
            match (self.peek(0), self.peek(1)) {
                (Some('/'), Some('*')) => depth += 1,
                (Some('*'), Some('/')) => depth -= 1,
                (None, _) => return,
                _ => {
                    self.comment_char();
                    continue;
                }
            }
            self.comment_char();
            self.comment_char();
            if depth == 0 {
                return;
            }
        }
    }

    fn string(&mut self) {
        let line = self.line;
        let mut content = String::new();
        self.keep();
        while let Some(c) = self.peek(0) {
            if c == '"' {
                self.keep();
                break;
            }
            if c == '\\' {
                content.extend(self.blank());
            }
            content.extend(self.blank());
        }
        self.strings.push((line, content));
    }

    fn starts_raw_string(&self) -> bool {
        let ident = |c: char| c.is_alphanumeric() || c == '_';
        let prefix = |c: char| matches!(c, 'b' | 'c');
        let before = self.at.checked_sub(1).and_then(|i| self.chars.get(i)).copied();
        let hashes = self.chars[self.at + 1..]
            .iter()
            .take_while(|c| **c == '#')
            .count();
        self.peek(1 + hashes) == Some('"') && before.is_none_or(|c| !ident(c) || prefix(c))
    }

    fn raw_string(&mut self) {
        let line = self.line;
        self.keep();
        let mut hashes = 0;
        while self.peek(0) == Some('#') {
            self.blank();
            hashes += 1;
        }
        self.keep();
        let mut content = String::new();
        while let Some(c) = self.peek(0) {
            if c == '"' && (1..=hashes).all(|i| self.peek(i) == Some('#')) {
                self.keep();
                self.blank_many(hashes);
                break;
            }
            content.extend(self.blank());
        }
        self.strings.push((line, content));
    }

    fn character_or_lifetime(&mut self) {
        let closing = match self.peek(1) {
            Some('\\') => (3..12).find(|&i| self.peek(i) == Some('\'')), // '\'' has its close at 3
            Some(_) => Some(2).filter(|&i| self.peek(i) == Some('\'')),
            None => None,
        };
        match closing {
            Some(length) => self.blank_many(length + 1),
            None => self.keep(), // a lifetime
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::testing::tree;

    fn source(text: &str) -> Source {
        Source::new("crates/x/src/a.rs".to_owned(), text.to_owned())
    }

    #[test]
    fn comments_and_literals_are_not_code() {
        let text = "let a = \"{ // \\\" }\"; // b {\nlet c = '{'; let d: &'a str = r#\"} \" x\"#; /* { /* } */ { */ f('\\'');\n";
        let source = source(text);
        assert_eq!(source.code[0], "let a = \"         \";       ");
        let code = source.code[1].replace(' ', "");
        assert_eq!(code, "letc=;letd:&'astr=r\"\";f();");
        assert_eq!(source.comments, ["// b {", "/* { /* } */ { */"]);
        assert_eq!(
            source.strings,
            [(1, "{ // \\\" }".to_owned()), (2, "} \" x".to_owned())]
        );
    }

    #[test]
    fn lines_keep_their_numbers_over_literals_of_many_lines() {
        let source = source("let a = \"one\ntwo\";\n/* three\nfour */ let b = b\"x\";\n");
        assert_eq!(source.code.len(), 4);
        assert_eq!(source.comments[2..], ["/* three", "four */"]);
        assert_eq!(source.strings, [(1, "one\ntwo".to_owned()), (4, "x".to_owned())]);
    }

    #[test]
    fn tests_are_known_by_attribute_folder_and_declaration() {
        let source = source("fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() {}\n}\nfn c() {}\n");
        let lines: Vec<bool> = (1..=6).map(|line| source.is_test_line(line)).collect();
        assert_eq!(lines, [false, true, true, true, true, false]);

        let tree = tree(&[
            ("crates/x/src/lib.rs", "mod a;\n#[cfg(test)]\nmod golden;\n"),
            ("crates/x/src/a.rs", ""),
            ("crates/x/src/golden.rs", ""),
            ("crates/x/src/golden/more.rs", ""),
            ("crates/x/src/golden2.rs", ""),
            ("crates/x/tests/it/main.rs", ""),
        ]);
        let tests: Vec<bool> = tree.rust.iter().map(|file| file.is_test).collect();
        assert_eq!(tests, [false, false, true, true, false, true]);
    }

    #[test]
    fn a_block_ends_at_its_own_brace() {
        let source = source("fn a(x: [u8; 2])\nwhere\n{\n    if x { y }\n}\nfn b();\n");
        assert_eq!(source.end_of_block(1), Some(5));
        assert_eq!(source.end_of_block(6), None);
    }

    #[test]
    fn words_are_whole() {
        assert!(has_word("use tokio::x", "tokio"));
        assert!(!has_word("use tokio_util; my_tokio", "tokio"));
    }
}
