//! The pure crates, and every plan, name no runtime, clock, randomness or system: those are arguments.

use crate::tidy::source::has_word;
use crate::tidy::{Finding, Tree};

pub const PURE: [&str; 5] = ["meta", "merge", "codec", "kinds", "sched"];
const WORDS: [&str; 6] = ["tokio", "hyper", "nix", "rand", "SystemTime", "Instant"];
const PATHS: [&str; 6] = [
    "std::fs",
    "std::thread",
    "std::process",
    "TcpStream",
    "UdpSocket",
    "Timestamp::now",
];

pub fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree
        .rust
        .iter()
        .filter(|file| is_pure(&file.path) && !file.is_test)
    {
        for (index, code) in file
            .code
            .iter()
            .enumerate()
            .filter(|(index, _)| !file.is_test_line(index + 1))
        {
            for word in WORDS.iter().chain(&PATHS).filter(|word| has_word(code, word)) {
                let message =
                    format!("names `{word}`: take it as an argument, or decide here and act elsewhere");
                findings.push(Finding {
                    path: file.path.clone(),
                    line: index + 1,
                    rule: "pure",
                    message,
                });
            }
        }
    }
    findings
}

/// A source of a pure crate, or a `plan` module of any crate.
fn is_pure(path: &str) -> bool {
    let pure_crate = PURE
        .iter()
        .any(|name| path.starts_with(&format!("crates/{name}/src/")));
    pure_crate || path.starts_with("crates/") && (path.ends_with("/plan.rs") || path.contains("/plan/"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::testing::{places, tree};

    #[test]
    fn clocks_and_runtimes_in_pure_code_are_found() {
        let files = [
            (
                "crates/kinds/src/a.rs",
                "use std::time::{Duration, Instant};\nfn a() { tokio::spawn(b()); }\n",
            ),
            (
                "crates/net/src/rules/plan.rs",
                "let now = jiff::Timestamp::now();\n",
            ),
        ];
        let expected = [
            "crates/kinds/src/a.rs:1",
            "crates/kinds/src/a.rs:2",
            "crates/net/src/rules/plan.rs:1",
        ];
        assert_eq!(places(&check(&tree(&files))), expected);
    }

    #[test]
    fn shells_tests_and_words_alike_are_not() {
        let files = [
            ("crates/node/src/shell.rs", "use tokio::time::Instant;\n"),
            (
                "crates/meta/src/a.rs",
                "// no tokio here\nfn instantiate(unix: u8) {}\n#[cfg(test)]\nmod tests {\n    use std::fs;\n}\n",
            ),
            ("crates/meta/tests/it/main.rs", "use std::fs;\n"),
            ("crates/kinds/build.rs", "use std::fs;\n"),
        ];
        assert_eq!(places(&check(&tree(&files))), [""; 0]);
    }
}
