//! The house rules as checks: text in, findings out. Each rule is a function over the files of the repository; what a
//! rule must bear for now is listed, with its reason, in `xtask/tidy.allow`.

mod allow;
mod errors;
mod kinds;
mod manifest;
mod purity;
mod shape;
mod sleeps;
mod source;

use std::fmt;
use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context, bail};

use crate::tidy::source::Source;

/// One place that breaks one rule. Printed as `path:line: [rule] what, and what to do`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    pub path: String,
    pub line: usize,
    pub rule: &'static str,
    pub message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: [{}] {}", self.path, self.line, self.rule, self.message)
    }
}

/// The repository as the checks see it.
pub struct Tree {
    pub rust: Vec<Source>,
    /// Every other text file: path and content.
    pub other: Vec<(String, String)>,
}

impl Tree {
    /// From paths and contents, as a test makes them.
    pub fn new(files: Vec<(String, String)>) -> Self {
        let (rust, other): (Vec<_>, _) = files.into_iter().partition(|(path, _)| path.ends_with(".rs"));
        let mut rust: Vec<Source> = rust
            .into_iter()
            .map(|(path, text)| Source::new(path, text))
            .collect();
        source::mark_test_files(&mut rust);
        Self { rust, other }
    }

    /// What git knows or would add, of the repository that the current folder is in.
    fn read() -> anyhow::Result<Self> {
        let root = git(&["rev-parse", "--show-toplevel"])?;
        std::env::set_current_dir(root.trim_end()).context("cannot enter the repository")?;
        let listed = git(&["ls-files", "-z", "--cached", "--others", "--exclude-standard"])?;
        let mut files = Vec::new();
        for path in listed.split_terminator('\0') {
            if !Path::new(path).is_file() {
                continue; // deleted, and not committed yet
            }
            let bytes = std::fs::read(path).with_context(|| format!("cannot read {path}"))?;
            if let Ok(text) = String::from_utf8(bytes) {
                files.push((path.to_owned(), text)); // the others are not text
            }
        }
        Ok(Self::new(files))
    }

    pub fn other(&self, path: &str) -> Option<&str> {
        self.other
            .iter()
            .find(|(other, _)| other == path)
            .map(|(_, text)| text.as_str())
    }
}

fn git(args: &[&str]) -> anyhow::Result<String> {
    let output = Command::new("git")
        .args(args)
        .output()
        .context("cannot run git, which lists the files")?;
    if !output.status.success() {
        bail!(
            "git {} failed: {}",
            args.join(" "),
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    String::from_utf8(output.stdout).context("git prints a path that is not UTF-8")
}

type Check = fn(&Tree) -> Vec<Finding>;

/// Every rule's name (as `tidy.allow` names it), and its check.
const CHECKS: &[(&str, Check)] = &[
    ("header", shape::headers),
    ("file-length", shape::file_lengths),
    ("function-length", shape::function_lengths),
    ("unfinished", shape::unfinished),
    ("ignored-test", shape::ignored_tests),
    ("kind", kinds::check),
    ("pure", purity::check),
    ("swallowed", errors::check),
    ("sleep", sleeps::check),
    ("reason", manifest::reasons),
    ("arrow", manifest::arrows),
    ("map", manifest::map),
];

fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings: Vec<Finding> = CHECKS.iter().flat_map(|(_, check)| check(tree)).collect();
    let rules: Vec<&str> = CHECKS.iter().map(|(rule, _)| *rule).collect();
    findings = allow::apply(tree.other(allow::PATH).unwrap_or_default(), &rules, findings);
    findings.sort();
    findings
}

pub fn run() -> anyhow::Result<ExitCode> {
    let tree = Tree::read()?;
    let findings = check(&tree);
    for finding in &findings {
        println!("{finding}");
    }
    if findings.is_empty() {
        println!(
            "tidy: {} rules hold in {} files",
            CHECKS.len(),
            tree.rust.len() + tree.other.len()
        );
        return Ok(ExitCode::SUCCESS);
    }
    println!("tidy: {} findings", findings.len());
    Ok(ExitCode::FAILURE)
}

#[cfg(test)]
pub mod testing {
    //! Findings as text, for the checks' tests.

    use super::{Finding, Tree};

    pub fn tree(files: &[(&str, &str)]) -> Tree {
        Tree::new(
            files
                .iter()
                .map(|(path, text)| ((*path).to_owned(), (*text).to_owned()))
                .collect(),
        )
    }

    /// `path:line` of each finding.
    pub fn places(findings: &[Finding]) -> Vec<String> {
        findings
            .iter()
            .map(|f| format!("{}:{}", f.path, f.line))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_are_sorted_and_allowed_ones_are_gone() {
        let files = [
            ("ARCHITECTURE.md", "# The map\n"),
            ("crates/b/src/lib.rs", "fn main() {}\n"),
            ("crates/a/src/lib.rs", "fn main() {}\n"),
            ("xtask/tidy.allow", "header crates/b: made by a tool\n"),
        ];
        let findings = check(&testing::tree(&files));
        assert_eq!(testing::places(&findings), ["crates/a/src/lib.rs:1"]);
        assert_eq!(
            findings.first().map(ToString::to_string).as_deref(),
            Some(
                "crates/a/src/lib.rs:1: [header] the file does not open with `//!`: say in 1 to 5 lines what it is for"
            )
        );
    }
}
