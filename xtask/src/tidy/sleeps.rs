//! No sleep waits for a condition: none in tests, and none inside a loop elsewhere, but with `// pause:` and the reason
//! (a back-off between two tries, say), beside it or right above.

use crate::tidy::source::{Source, has_word, word_positions};
use crate::tidy::{Finding, Tree};

const REASON: &str = "pause:";

pub fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in &tree.rust {
        let loops = loop_lines(file);
        for (index, _) in file.code.iter().enumerate().filter(|(_, code)| sleeps(code)) {
            let line = index + 1;
            let what = match (file.is_test_line(line), loops[index]) {
                (true, _) => "a test sleeps",
                (false, true) => "a loop sleeps",
                (false, false) => continue,
            };
            if !file.comment_at(line).contains(REASON) {
                let message =
                    format!("{what}: wait for the event itself, or say why not with `// {REASON} …`");
                findings.push(Finding {
                    path: file.path.clone(),
                    line,
                    rule: "sleep",
                    message,
                });
            }
        }
    }
    findings
}

/// A call of `sleep` or `sleep_until`; not the definition of one.
fn sleeps(code: &str) -> bool {
    ["sleep", "sleep_until"].iter().any(|name| {
        word_positions(code, name).any(|at| {
            let called = code[at + name.len()..].trim_start().starts_with('(');
            called && !code[..at].trim_end().ends_with("fn")
        })
    })
}

/// For each line, whether it lies in the body of a loop.
fn loop_lines(file: &Source) -> Vec<bool> {
    let mut inside = vec![false; file.code.len()];
    for (index, code) in file.code.iter().enumerate() {
        let begins =
            has_word(code, "loop") || has_word(code, "while") || code.trim_start().starts_with("for ");
        if let Some(end) = file.end_of_block(index + 1).filter(|_| begins) {
            inside[index..end].fill(true);
        }
    }
    inside
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::testing::{places, tree};

    #[test]
    fn sleeps_in_tests_and_loops_are_found() {
        let files = [
            (
                "crates/a/src/a.rs",
                "fn a() {\n    while !ready() {\n        thread::sleep(STEP);\n    }\n}\n",
            ),
            (
                "crates/a/tests/it/main.rs",
                "fn a() {\n    tokio::time::sleep(STEP).await;\n}\n",
            ),
            (
                "crates/b/src/a.rs",
                "#[cfg(test)]\nmod tests {\n    fn a() { sleep_until(then); }\n}\n",
            ),
        ];
        assert_eq!(
            places(&check(&tree(&files))),
            [
                "crates/a/src/a.rs:3",
                "crates/a/tests/it/main.rs:2",
                "crates/b/src/a.rs:3"
            ]
        );
    }

    #[test]
    fn one_timer_a_definition_and_a_reason_are_fine() {
        let files = [
            (
                "crates/a/src/a.rs",
                "trait Env {\n    fn sleep(&self, d: Duration);\n}\nfn a() {\n    env.sleep(GRACE);\n}\n",
            ),
            (
                "crates/a/src/b.rs",
                "loop {\n    // pause: the back-off between two pulls, which nothing announces\n    env.sleep(d).await;\n}\n",
            ),
            (
                "crates/a/tests/it/main.rs",
                "let a = \"sleep(1)\";\n// sleep(1)\n",
            ),
        ];
        assert_eq!(places(&check(&tree(&files))), [""; 0]);
    }
}
