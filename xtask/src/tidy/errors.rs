//! No error is dropped unseen: `let _ =` on a call needs `// ignored:` and the reason, beside it or right above.

use crate::tidy::source::Source;
use crate::tidy::{Finding, Tree};

const REASON: &str = "ignored:";
/// A statement's lines that are looked at to see whether it calls something.
const STATEMENT_LINES: usize = 30;

pub fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in &tree.rust {
        for (index, code) in file.code.iter().enumerate() {
            if drops_a_value(code) && calls(file, index) && !file.comment_at(index + 1).contains(REASON) {
                let message =
                    format!("a result is dropped: return it, log it, or say why not with `// {REASON} …`");
                findings.push(Finding {
                    path: file.path.clone(),
                    line: index + 1,
                    rule: "swallowed",
                    message,
                });
            }
        }
    }
    findings
}

fn drops_a_value(code: &str) -> bool {
    let code = code.trim_start();
    let start = code.find("let _").map_or(code, |at| code[at + 4..].trim_start());
    let Some(rest) = start.strip_prefix('_').map(str::trim_start) else {
        return false;
    };
    let assigns = |text: &str| text.starts_with('=') && !text.starts_with("==") && !text.starts_with("=>");
    // A type that is spelled out and is no result says that nothing is lost.
    let typed = rest.strip_prefix(':').filter(|_| code.contains("let _"));
    assigns(rest) || typed.is_some_and(|kind| kind.split('=').next().unwrap_or(kind).contains("Result"))
}

fn calls(file: &Source, index: usize) -> bool {
    for code in file.code.iter().skip(index).take(STATEMENT_LINES) {
        if code.contains('(') {
            return true;
        }
        if code.trim_end().ends_with(';') {
            return false;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::testing::tree;

    fn lines(text: &str) -> Vec<usize> {
        check(&tree(&[("a.rs", text)]))
            .iter()
            .map(|finding| finding.line)
            .collect()
    }

    #[test]
    fn a_dropped_result_is_found() {
        assert_eq!(
            lines(
                "let _ = tx.send(1);\n_ = b();\nlet _: Result<(), E> = c();\nlet _ = a\n    .b()\n    .c();\n"
            ),
            [1, 2, 3, 4]
        );
        assert_eq!(
            lines("// a comment without a reason\nif x { let _ = f(); }\n"),
            [2]
        );
    }

    #[test]
    fn a_reason_and_other_underscores_are_fine() {
        let text =
            "let _ = tx.send(1); // ignored: the receiver may be gone\n// ignored: as above\nlet _ = f();\n";
        assert_eq!(lines(text), [0; 0]);
        assert_eq!(
            lines(
                "let _guard = f();\nlet _ = unused;\nmatch x { _ => f(), }\n    _ => f(),\nlet (_, b) = f();\nlet _: Option<u8> = f();\n"
            ),
            [0; 0]
        );
        assert_eq!(lines("// let _ = f();\nlet a = \"let _ = f();\";\n"), [0; 0]);
    }
}
