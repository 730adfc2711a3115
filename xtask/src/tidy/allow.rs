//! `xtask/tidy.allow`: what a rule must bear, each line with its reason: `<rule> <path prefix> [<word>]: <reason>`.
//! A line that bears nothing is a finding itself, so the list only ever shrinks to what is needed.

use crate::tidy::Finding;

pub const PATH: &str = "xtask/tidy.allow";

struct Entry<'a> {
    line: usize,
    rule: &'a str,
    prefix: &'a str,
    /// The finding's message must quote it, as `word`.
    word: Option<&'a str>,
    used: bool,
}

impl Entry<'_> {
    fn bears(&self, finding: &Finding) -> bool {
        self.rule == finding.rule
            && finding.path.starts_with(self.prefix)
            && self
                .word
                .is_none_or(|word| finding.message.contains(&format!("`{word}`")))
    }
}

/// The findings that remain, with those about the list itself.
pub fn apply(list: &str, rules: &[&str], findings: Vec<Finding>) -> Vec<Finding> {
    let mut entries = Vec::new();
    let mut remaining = Vec::new();
    let about = |line: usize, message: String| Finding {
        path: PATH.to_owned(),
        line,
        rule: "allow",
        message,
    };
    for (index, text) in list.lines().enumerate() {
        if text.trim().is_empty() || text.starts_with('#') {
            continue;
        }
        match parse(index + 1, text) {
            Some(entry) if rules.contains(&entry.rule) => entries.push(entry),
            Some(entry) => remaining.push(about(index + 1, format!("there is no rule `{}`", entry.rule))),
            None => {
                let message = "a line reads `<rule> <path prefix> [<word>]: <reason>`".to_owned();
                remaining.push(about(index + 1, message));
            }
        }
    }
    for finding in findings {
        let mut borne = false;
        for entry in entries.iter_mut().filter(|entry| entry.bears(&finding)) {
            entry.used = true;
            borne = true;
        }
        if !borne {
            remaining.push(finding);
        }
    }
    let stale = entries.iter().filter(|entry| !entry.used);
    remaining.extend(stale.map(|entry| {
        about(
            entry.line,
            "nothing needs this line any more: remove it".to_owned(),
        )
    }));
    remaining
}

fn parse(line: usize, text: &str) -> Option<Entry<'_>> {
    let (what, reason) = text.split_once(": ")?;
    let words: Vec<&str> = what.split_whitespace().collect();
    let (rule, prefix, word) = match words[..] {
        [rule, prefix] => (rule, prefix, None),
        [rule, prefix, word] => (rule, prefix, Some(word)),
        _ => return None,
    };
    (!reason.trim().is_empty()).then_some(Entry {
        line,
        rule,
        prefix,
        word,
        used: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(path: &str, message: &str) -> Finding {
        Finding {
            path: path.to_owned(),
            line: 7,
            rule: "kind",
            message: message.to_owned(),
        }
    }

    fn remaining(list: &str, findings: Vec<Finding>) -> Vec<String> {
        apply(list, &["kind"], findings)
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn an_entry_bears_its_rule_below_its_path_for_its_word() {
        let list = "# why\n\nkind crates/node `Pod`: x\nkind crates/node Pod: the node runs pods\n";
        let findings = vec![
            finding("crates/node/src/a.rs", "names the kind `Pod`"),
            finding("crates/node/src/a.rs", "names the kind `PodList`"),
            finding("crates/net/src/a.rs", "names the kind `Pod`"),
        ];
        assert_eq!(
            remaining(list, findings),
            [
                "crates/node/src/a.rs:7: [kind] names the kind `PodList`",
                "crates/net/src/a.rs:7: [kind] names the kind `Pod`",
                "xtask/tidy.allow:3: [allow] nothing needs this line any more: remove it",
            ]
        );
    }

    #[test]
    fn an_entry_needs_a_known_rule_and_a_reason() {
        assert_eq!(
            remaining("kid crates/x: because\nkind crates/x\nkind crates/x: \n", vec![]),
            [
                "xtask/tidy.allow:1: [allow] there is no rule `kid`",
                "xtask/tidy.allow:2: [allow] a line reads `<rule> <path prefix> [<word>]: <reason>`",
                "xtask/tidy.allow:3: [allow] a line reads `<rule> <path prefix> [<word>]: <reason>`",
            ]
        );
    }
}
