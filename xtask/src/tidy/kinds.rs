//! A kind is named in its own room only: no code outside `crates/kinds` (but tests and examples) holds a kind's name or
//! makes a resource from literals. The list of kinds is what the rows say, `kind: "…"`.

use std::collections::BTreeSet;

use crate::tidy::source::Source;
use crate::tidy::{Finding, Tree};

const ROOMS: &str = "crates/kinds/";
/// Where kinds may be named: what tests, shows or measures the whole.
const FREE: [&str; 6] = [
    ROOMS,
    "crates/e2e/",
    "crates/sim/",
    "examples/",
    "bench/",
    "xtask/",
];
const KIND_FIELD: &str = "kind: \"";

pub fn check(tree: &Tree) -> Vec<Finding> {
    let rooms = tree
        .rust
        .iter()
        .filter(|file| file.path.starts_with(ROOMS) && file.path.contains("/src/"));
    let kinds: BTreeSet<&str> = rooms.flat_map(kinds_of).collect();
    let mut findings = Vec::new();
    if kinds.is_empty() && tree.other("crates/kinds/Cargo.toml").is_some() {
        let message =
            format!("no row says {KIND_FIELD}…\": this check has nothing to look for; teach it the new form");
        findings.push(Finding {
            path: format!("{ROOMS}src/lib.rs"),
            line: 1,
            rule: "kind",
            message,
        });
    }
    let free = |path: &str| FREE.iter().any(|free| path.starts_with(free)) || path.contains("/examples/");
    for file in tree.rust.iter().filter(|file| !free(&file.path)) {
        for (line, literal) in file.strings.iter().filter(|(line, _)| !file.is_test_line(*line)) {
            let message = if kinds.contains(literal.as_str()) {
                format!("names the kind `{literal}`: ask its row, or move this into its room")
            } else if file.code[line - 1].contains("Res::new(") && !literal.is_empty() {
                format!("makes the resource `{literal}` from literals: use the constant of its room")
            } else {
                continue;
            };
            findings.push(Finding {
                path: file.path.clone(),
                line: *line,
                rule: "kind",
                message,
            });
        }
    }
    findings
}

fn kinds_of(file: &Source) -> impl Iterator<Item = &str> {
    let code = file.code.iter().enumerate();
    let rows = code.filter(|(index, code)| code.contains(KIND_FIELD) && !file.is_test_line(index + 1));
    rows.filter_map(|(index, _)| {
        let text = file.text.lines().nth(index)?;
        let kind = text.split_once(KIND_FIELD)?.1.split('"').next()?;
        kind.starts_with(|c: char| c.is_ascii_uppercase()).then_some(kind) // a schema's `kind` is in lower case
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::testing::{places, tree};

    const ROOM: (&str, &str) = (
        "crates/kinds/src/statefulset.rs",
        "pub fn row() -> Row {\n    Row { res: Res::new(\"apps\", \"statefulsets\"), kind: \"StatefulSet\", other: \"X\" }\n}\n#[cfg(test)]\nmod tests { const A: A = A { kind: \"Widget\" }; }\n",
    );

    #[test]
    fn a_kind_outside_its_room_is_found() {
        let files = [
            ROOM,
            (
                "crates/apiserver/src/a.rs",
                "match kind {\n    \"StatefulSet\" => a(),\n    \"Widget\" | \"X\" => b(),\n}\n",
            ),
            (
                "crates/control/src/a.rs",
                "const A: Res = Res::new(\"\", \"pods\");\n",
            ),
        ];
        let found = check(&tree(&files));
        assert_eq!(
            places(&found),
            ["crates/apiserver/src/a.rs:2", "crates/control/src/a.rs:1"]
        );
        assert!(found[0].message.starts_with("names the kind `StatefulSet`"));
    }

    #[test]
    fn tests_comments_and_examples_may_name_kinds() {
        let files = [
            ROOM,
            (
                "crates/apiserver/src/a.rs",
                "// a StatefulSet\n#[cfg(test)]\nmod tests {\n    const A: &str = \"StatefulSet\";\n}\n",
            ),
            (
                "crates/apiserver/tests/it/main.rs",
                "const A: &str = \"StatefulSet\";\n",
            ),
            ("crates/store/examples/a.rs", "const A: &str = \"StatefulSet\";\n"),
            ("crates/e2e/src/lib.rs", "const A: &str = \"StatefulSet\";\n"),
            (
                "crates/net/src/a.rs",
                "const A: &str = \"the StatefulSet's\";\nlet r = Res::new(group, plural);\n",
            ),
        ];
        assert_eq!(places(&check(&tree(&files))), [""; 0]);
    }

    #[test]
    fn a_check_that_sees_no_kinds_says_so() {
        let files = [
            ("crates/kinds/Cargo.toml", ""),
            ("crates/kinds/src/lib.rs", "macro_rules! row { () => {} }\n"),
        ];
        assert_eq!(places(&check(&tree(&files))), ["crates/kinds/src/lib.rs:1"]);
    }
}
