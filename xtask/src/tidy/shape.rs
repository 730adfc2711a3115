//! What each file and function looks like: a header, a length that fits, nothing unfinished, no test that is off.

use crate::tidy::source::{Source, has_word, word_positions};
use crate::tidy::{Finding, Tree};

const FILE_LINES: usize = 600;
const FUNCTION_LINES: usize = 70;
/// Opens the comment that says why something is longer.
const LONG: &str = "LONG:";

pub fn headers(tree: &Tree) -> Vec<Finding> {
    let without = tree.rust.iter().filter(|file| !file.text.starts_with("//!"));
    let message = "the file does not open with `//!`: say in 1 to 5 lines what it is for";
    without
        .map(|file| finding(file, 1, "header", message.to_owned()))
        .collect()
}

pub fn file_lengths(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in &tree.rust {
        let lines = file.code.len();
        let explained = file.comments.iter().take(8).any(|comment| comment.contains(LONG));
        if lines > FILE_LINES && !explained {
            let message = format!(
                "{lines} lines, over {FILE_LINES}: split it, or say why not with `{LONG}` in its header"
            );
            findings.push(finding(file, 1, "file-length", message));
        }
    }
    findings
}

pub fn function_lengths(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in &tree.rust {
        for (index, code) in file.code.iter().enumerate() {
            let (Some(name), Some(end)) = (function_name(code), file.end_of_block(index + 1)) else {
                continue;
            };
            let lines = end - index;
            if lines > FUNCTION_LINES && !file.comment_at(index + 1).contains(LONG) {
                let message = format!(
                    "`{name}` has {lines} lines, over {FUNCTION_LINES}: split it, or say why not in a comment above with `{LONG}`"
                );
                findings.push(finding(file, index + 1, "function-length", message));
            }
        }
    }
    findings
}

/// The function that a line of code begins, if it begins one.
fn function_name(code: &str) -> Option<&str> {
    let at = word_positions(code, "fn").next()?;
    let rest = code[at + 2..].trim_start();
    let end = rest
        .find(|c: char| !c.is_alphanumeric() && c != '_')
        .unwrap_or(rest.len());
    Some(&rest[..end]).filter(|name| !name.is_empty()) // a pointer type, `fn(…)`, has none
}

/// Words that announce work left undone: in comments and code of Rust files, anywhere in others.
pub fn unfinished(tree: &Tree) -> Vec<Finding> {
    const WORDS: [&str; 3] = ["TODO", "FIXME", "XXX"];
    const MACROS: [&str; 2] = ["todo!", "unimplemented!"];
    let mut findings = Vec::new();
    for file in &tree.rust {
        for (index, (code, comment)) in file.code.iter().zip(&file.comments).enumerate() {
            let words = WORDS.iter().filter(|word| has_word(comment, word));
            for word in words.chain(MACROS.iter().filter(|name| code.contains(**name))) {
                findings.push(finding(
                    file,
                    index + 1,
                    "unfinished",
                    format!("{word}: finish it or file it as an issue"),
                ));
            }
        }
    }
    for (path, text) in &tree.other {
        for (index, line) in text.lines().enumerate() {
            for word in WORDS.iter().filter(|word| has_word(line, word)) {
                let message = format!("{word}: finish it or file it as an issue");
                findings.push(Finding {
                    path: path.clone(),
                    line: index + 1,
                    rule: "unfinished",
                    message,
                });
            }
        }
    }
    findings
}

pub fn ignored_tests(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in &tree.rust {
        for (index, _) in file
            .code
            .iter()
            .enumerate()
            .filter(|(_, code)| code.contains("#[ignore"))
        {
            let message =
                "a test is switched off: make it run, or let it say what it misses and count as skipped";
            findings.push(finding(file, index + 1, "ignored-test", message.to_owned()));
        }
    }
    findings
}

fn finding(file: &Source, line: usize, rule: &'static str, message: String) -> Finding {
    Finding {
        path: file.path.clone(),
        line,
        rule,
        message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::testing::{places, tree};

    fn lines(count: usize) -> String {
        "    work();\n".repeat(count)
    }

    #[test]
    fn a_header_is_the_first_thing_in_a_file() {
        assert_eq!(
            places(&headers(&tree(&[("a.rs", "//! What it is.\nfn a() {}\n")]))),
            [""; 0]
        );
        assert_eq!(
            places(&headers(&tree(&[("a.rs", "\n//! Late.\n"), ("b.rs", "")]))),
            ["a.rs:1", "b.rs:1"]
        );
    }

    #[test]
    fn a_long_file_says_why() {
        let (fits, long) = (lines(600), lines(601));
        let explained = format!("//! One table.\n//! LONG: it is one table\n{long}");
        let files = [("a.rs", fits.as_str()), ("b.rs", &long), ("c.rs", &explained)];
        assert_eq!(places(&file_lengths(&tree(&files))), ["b.rs:1"]);
    }

    #[test]
    fn a_long_function_says_why() {
        let function = |above: &str, count| format!("{above}pub fn f<T>(x: [T; 2]) {{\n{}}}\n", lines(count));
        let check = |text: String| function_lengths(&tree(&[("a.rs", &text)]));
        assert_eq!(places(&check(function("", 68))), [""; 0]);
        let found = check(function("", 69));
        assert_eq!(places(&found), ["a.rs:1"]);
        assert!(
            found[0].message.starts_with("`f` has 71 lines, over 70"),
            "{}",
            found[0].message
        );
        assert_eq!(
            places(&check(function(
                "/// Doc.\n// LONG: one story, told in order\n#[inline]\n",
                90
            ))),
            [""; 0]
        );
        assert_eq!(
            places(&check(function("// LONG: another's\nfn g() {}\n", 90))),
            ["a.rs:3"]
        );
        assert_eq!(
            places(&check(format!("type F = fn(u8);\n{}", lines(100)))),
            [""; 0]
        );
        assert_eq!(
            places(&check(format!(
                "trait A {{\n    fn f(&self);\n{}}}\n",
                lines(100)
            ))),
            [""; 0]
        );
    }

    #[test]
    fn unfinished_work_is_found_in_comments_macros_and_other_files() {
        let files = [
            (
                "a.rs",
                "//! TODO: more\nfn a() { todo!() }\nconst A: &str = \"TODO\"; // NOTTODO\nfn b() { unimplemented!(\"x\") }\n",
            ),
            ("Makefile", "all:\n# FIXME\n"),
        ];
        assert_eq!(
            places(&unfinished(&tree(&files))),
            ["a.rs:1", "a.rs:2", "a.rs:4", "Makefile:2"]
        );
    }

    #[test]
    fn a_test_is_not_switched_off() {
        let text = "#[test]\n#[ignore = \"slow\"]\nfn a() {}\n// #[ignore] is not for us\n";
        assert_eq!(places(&ignored_tests(&tree(&[("a.rs", text)]))), ["a.rs:2"]);
    }
}
