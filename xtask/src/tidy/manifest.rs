//! The manifests and the map: each dependency says why it is there, arrows between rooms point downwards only, and
//! ARCHITECTURE.md shows every room on two pages.

use crate::tidy::purity::PURE;
use crate::tidy::{Finding, Tree};

const WORKSPACE: &str = "Cargo.toml";
const MAP: &str = "ARCHITECTURE.md";
/// Two pages.
const MAP_LINES: usize = 140;
/// Lower ones do not know higher ones; those of one layer do not know each other.
const LAYERS: [&[&str]; 6] = [
    &["meta"],
    &["merge", "codec"],
    &["kinds"],
    &["sched", "store"],
    &["apiserver", "control", "node", "net"],
    &["isopod"],
];
/// What a pure crate may not depend on.
const IMPURE: [&str; 5] = ["tokio", "hyper", "hyper-util", "nix", "rand"];

/// One `name = …` line of a manifest's table.
struct Dependency<'a> {
    line: usize,
    name: &'a str,
    text: &'a str,
    above: &'a str,
}

/// The entries of the tables whose name `wanted` accepts.
fn dependencies<'a>(manifest: &'a str, wanted: impl Fn(&str) -> bool) -> Vec<Dependency<'a>> {
    let (mut found, mut table, mut above) = (Vec::new(), "", "");
    for (index, text) in manifest.lines().enumerate() {
        if text.starts_with('[') {
            table = text.trim_start_matches('[').split(']').next().unwrap_or("");
        } else if wanted(table) && text.starts_with(|c: char| c.is_ascii_alphanumeric()) {
            let end = text.find(['.', ' ', '=']).unwrap_or(text.len());
            found.push(Dependency {
                line: index + 1,
                name: &text[..end],
                text,
                above,
            });
        }
        above = text;
    }
    found
}

pub fn reasons(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut add = |path: &str, line, message| {
        findings.push(Finding {
            path: path.to_owned(),
            line,
            rule: "reason",
            message,
        });
    };
    for dependency in dependencies(tree.other(WORKSPACE).unwrap_or(""), |table| {
        table == "workspace.dependencies"
    }) {
        let ours = dependency.text.contains("path = \"");
        let beside = dependency
            .text
            .rsplit_once("# ")
            .is_some_and(|(_, why)| words(why) >= 2);
        let above = dependency
            .above
            .strip_prefix('#')
            .is_some_and(|why| words(why) >= 3);
        if !(ours || beside || above) {
            let message = format!(
                "`{}` does not say why it is here: add `# <reason>` to its line",
                dependency.name
            );
            add(WORKSPACE, dependency.line, message);
        }
    }
    for (path, text) in tree
        .other
        .iter()
        .filter(|(path, _)| path.ends_with("/Cargo.toml"))
    {
        for dependency in dependencies(text, |table| table.ends_with("dependencies")) {
            let inherits = dependency.text.contains("workspace = true");
            if !inherits {
                let message = format!(
                    "`{}` is not taken from the workspace: write `{0}.workspace = true`",
                    dependency.name
                );
                add(path, dependency.line, message);
            }
        }
    }
    findings
}

fn words(text: &str) -> usize {
    text.split_whitespace().count()
}

pub fn arrows(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in &tree.other {
        let Some(room) = path
            .strip_prefix("crates/")
            .and_then(|rest| rest.strip_suffix("/Cargo.toml"))
        else {
            continue;
        };
        let own = layer(room);
        for dependency in dependencies(text, |table| table == "dependencies") {
            let upwards = own.is_some() && layer(dependency.name).is_some_and(|other| Some(other) >= own);
            let message = if upwards {
                format!(
                    "`{room}` depends on `{}`: arrows point downwards only",
                    dependency.name
                )
            } else if PURE.contains(&room) && IMPURE.contains(&dependency.name) {
                format!("`{room}` is pure and depends on `{}`", dependency.name)
            } else {
                continue;
            };
            findings.push(Finding {
                path: path.clone(),
                line: dependency.line,
                rule: "arrow",
                message,
            });
        }
    }
    findings
}

fn layer(room: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&room))
}

pub fn map(tree: &Tree) -> Vec<Finding> {
    let finding = |line, message| Finding {
        path: MAP.to_owned(),
        line,
        rule: "map",
        message,
    };
    let Some(map) = tree.other(MAP) else {
        return vec![finding(
            1,
            "the map is missing: write it, on two pages".to_owned(),
        )];
    };
    let mut findings = Vec::new();
    let lines = map.lines().count();
    if lines > MAP_LINES {
        findings.push(finding(
            MAP_LINES + 1,
            format!("{lines} lines, over {MAP_LINES}: the map fits on two pages"),
        ));
    }
    let manifests = tree
        .other
        .iter()
        .filter_map(|(path, _)| path.strip_prefix("crates/")?.strip_suffix("/Cargo.toml"));
    for room in manifests.filter(|room| !map.contains(*room)) {
        findings.push(finding(1, format!("`{room}` is not on the map")));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::testing::{places, tree};

    #[test]
    fn a_dependency_says_why_and_is_inherited() {
        let workspace = "[workspace.dependencies]\n# Data\nserde = \"1\"\nimbl = \"7\" # a persistent map\n\
                         # the HTTP that all use\nhyper = { version = \"1\" }\nhttp = \"1\"\nmeta = { path = \"crates/meta\" }\n\
                         [workspace.lints.rust]\nunsafe_code = \"forbid\"\n";
        let room = "[package]\nname = \"a\"\n[dependencies]\nserde.workspace = true\nmeta = { workspace = true }\nhttp = \"1\"\n";
        let found = reasons(&tree(&[("Cargo.toml", workspace), ("crates/a/Cargo.toml", room)]));
        assert_eq!(
            places(&found),
            ["Cargo.toml:3", "Cargo.toml:7", "crates/a/Cargo.toml:6"]
        );
        assert_eq!(
            found[1].message,
            "`http` does not say why it is here: add `# <reason>` to its line"
        );
    }

    #[test]
    fn arrows_point_downwards() {
        let files = [
            (
                "crates/kinds/Cargo.toml",
                "[dependencies]\nmeta.workspace = true\nstore.workspace = true\ntokio.workspace = true\n",
            ),
            (
                "crates/node/Cargo.toml",
                "[dependencies]\nkinds.workspace = true\nnet.workspace = true\ntokio.workspace = true\n[dev-dependencies]\napiserver.workspace = true\n",
            ),
            (
                "crates/sim/Cargo.toml",
                "[dependencies]\napiserver.workspace = true\n",
            ),
        ];
        let expected = [
            "crates/kinds/Cargo.toml:3",
            "crates/kinds/Cargo.toml:4",
            "crates/node/Cargo.toml:3",
        ];
        assert_eq!(places(&arrows(&tree(&files))), expected);
    }

    #[test]
    fn the_map_is_there_fits_and_shows_every_room() {
        let rooms = [("crates/meta/Cargo.toml", ""), ("crates/net/Cargo.toml", "")];
        assert_eq!(places(&map(&tree(&rooms))), ["ARCHITECTURE.md:1"]);
        let with = |text: &str| map(&tree(&[rooms[0], rooms[1], ("ARCHITECTURE.md", text)]));
        assert_eq!(with("meta and net\n"), []);
        assert_eq!(with("meta\n")[0].message, "`net` is not on the map");
        assert_eq!(places(&with(&"meta net\n".repeat(141))), ["ARCHITECTURE.md:141"]);
    }
}
