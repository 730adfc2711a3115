//! No sleep waits for a condition: none in tests, and none inside a loop elsewhere, but with `// pause:` and the reason
//! (a back-off between two tries, say), beside it or right above.

use crate::tidy::source::{Source, has_word, word_positions};
use crate::tidy::{Finding, Tree};

const REASON: &str = "pause:";
/// A call and what follows it are looked for within so many lines.
const CALL_LINES: usize = 8;

pub fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in &tree.rust {
        let loops = loop_lines(file);
        for index in (0..file.code.len()).filter(|&index| sleeps(file, index)) {
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

/// Whether a line calls `sleep` or `sleep_until` and waits for it on the spot. A timer that is raced against events (an
/// arm of a select, a future that is kept) waits for no condition.
fn sleeps(file: &Source, index: usize) -> bool {
    let code = &file.code[index];
    ["sleep", "sleep_until"].iter().any(|name| {
        word_positions(code, name).any(|at| {
            let (before, after) = (code[..at].trim_end(), code[at + name.len()..].trim_start());
            let called = after.starts_with('(') && !before.ends_with("fn");
            called && (before.ends_with("thread::") || is_awaited(file, index, after))
        })
    })
}

/// Whether `.await` follows the call whose arguments `after` opens.
fn is_awaited(file: &Source, index: usize, after: &str) -> bool {
    let rest = file
        .code
        .iter()
        .skip(index + 1)
        .take(CALL_LINES)
        .map(String::as_str);
    let mut depth = 0;
    let text: String = std::iter::once(after).chain(rest).collect();
    let closes = text.find(|c| {
        depth += i32::from(c == '(') - i32::from(c == ')');
        depth == 0
    });
    closes.is_some_and(|at| text[at + 1..].trim_start().starts_with(".await"))
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
                "#[cfg(test)]\nmod tests {\n    fn a() { sleep_until(\n  then())\n  .await; }\n}\n",
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
                "crates/a/src/c.rs",
                "loop {\n    select! {\n        () = env.sleep(d) => {}\n        () = next => {}\n    }\n    let timer = env.sleep_until(at).fuse();\n}\n",
            ),
            (
                "crates/a/tests/it/main.rs",
                "let a = \"sleep(1)\";\n// sleep(1)\n",
            ),
        ];
        assert_eq!(places(&check(&tree(&files))), [""; 0]);
    }
}
