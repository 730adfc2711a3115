//! Objects out of files: YAML of several documents, JSON, lists; from a file, a folder, or standard input.

use super::args::Files;
use anyhow::{Context, Result, anyhow, bail};
use serde_json::Value;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Folders within folders above this are a loop.
const MAX_DEPTH: usize = 50;
/// More than any manifest; the API takes 3 MiB an object.
const MAX_FILE_BYTES: u64 = 256 << 20;

/// An object, and where it stands.
pub struct Manifest {
    pub object: Value,
    pub from: String,
}

impl Files {
    pub fn read(&self) -> Result<Vec<Manifest>> {
        if self.files.is_empty() {
            bail!("must specify one of -f FILE, a folder, or - for standard input");
        }
        let mut manifests = Vec::new();
        for path in &self.files {
            for file in files(path, self.recursive)? {
                manifests.extend(one_file(&file)?);
            }
        }
        if manifests.is_empty() {
            bail!("no objects passed to apply: the files hold none");
        }
        Ok(manifests)
    }
}

/// The files that a path names: in a folder those that end as manifests do, in order of their names.
fn files(path: &Path, recursive: bool) -> Result<Vec<PathBuf>> {
    if path == Path::new("-") || !path.is_dir() {
        return Ok(vec![path.to_path_buf()]);
    }
    let mut found = Vec::new();
    folder(path, recursive, 0, &mut found)?;
    if found.is_empty() {
        bail!(
            "error reading [{}]: recognized file extensions are [.json .yaml .yml]",
            path.display()
        );
    }
    Ok(found)
}

fn folder(path: &Path, recursive: bool, depth: usize, found: &mut Vec<PathBuf>) -> Result<()> {
    anyhow::ensure!(depth <= MAX_DEPTH, "{} is nested too deep", path.display());
    let entries = std::fs::read_dir(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut paths = entries
        .map(|e| e.map(|e| e.path()))
        .collect::<std::io::Result<Vec<_>>>()?;
    paths.sort();
    for path in paths {
        if path.is_dir() {
            if recursive {
                folder(&path, recursive, depth + 1, found)?;
            }
        } else if path
            .extension()
            .is_some_and(|e| e == "yaml" || e == "yml" || e == "json")
        {
            found.push(path);
        }
    }
    Ok(())
}

fn one_file(path: &Path) -> Result<Vec<Manifest>> {
    let mut text = String::new();
    let (reader, shown): (Box<dyn Read>, String) = if path == Path::new("-") {
        (Box::new(std::io::stdin().lock()), "standard input".into())
    } else {
        let shown = path.display().to_string();
        let file = std::fs::File::open(path).map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => anyhow!("the path \"{shown}\" does not exist"),
            _ => anyhow!("cannot read {shown}: {e}"),
        })?;
        (Box::new(file), shown)
    };
    let read = reader.take(MAX_FILE_BYTES).read_to_string(&mut text);
    read.with_context(|| format!("cannot read {shown}"))?;
    parse(&text, &shown)
}

/// The objects of a text; errors name the file and the line.
fn parse(text: &str, shown: &str) -> Result<Vec<Manifest>> {
    let mut manifests = Vec::new();
    let mut start = 0;
    for (line, document) in documents(text) {
        start = start.max(line);
        let only_comments = document
            .lines()
            .all(|l| l.trim().is_empty() || l.trim_start().starts_with('#'));
        if only_comments {
            continue;
        }
        let from = format!("{shown}, line {line}");
        let decoded = codec::from_yaml(document.as_bytes()).map_err(|why| {
            anyhow!("error parsing {shown} (the document that starts at line {line}): {why}")
        })?;
        flatten(decoded.value, &from, &mut manifests)?;
    }
    Ok(manifests)
}

/// YAML documents with the number of their first line.
fn documents(text: &str) -> Vec<(usize, String)> {
    let mut documents = vec![(1, String::new())];
    for (at, line) in text.lines().enumerate() {
        let separator = line
            .strip_prefix("---")
            .is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r']));
        if separator {
            documents.push((at + 2, String::new()));
        } else if let Some((_, document)) = documents.last_mut() {
            document.push_str(line);
            document.push('\n');
        }
    }
    documents
}

fn flatten(value: Value, from: &str, manifests: &mut Vec<Manifest>) -> Result<()> {
    if value.is_null() {
        return Ok(());
    }
    let kind = value.get("kind").and_then(Value::as_str).unwrap_or_default();
    if kind.is_empty() {
        bail!("error validating {from}: Object 'Kind' is missing");
    }
    if kind.ends_with("List")
        && let Some(Value::Array(items)) = value.get("items")
    {
        for item in items {
            flatten(item.clone(), from, manifests)?;
        }
        return Ok(());
    }
    manifests.push(Manifest {
        object: value,
        from: from.to_string(),
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_lists_and_comments() {
        let text = "# first\n---\nkind: A\n---\n# nothing\n--- \nkind: List\nitems:\n- kind: B\n- kind: C\n";
        let kinds: Vec<String> = parse(text, "x.yaml")
            .expect("parses")
            .iter()
            .map(|m| m.object["kind"].to_string())
            .collect();
        assert_eq!(kinds, ["\"A\"", "\"B\"", "\"C\""]);
        assert_eq!(parse("{\"kind\": \"J\"}", "x.json").expect("json").len(), 1);
        let error = parse("kind: A\n---\na: [\n", "x.yaml")
            .err()
            .expect("broken")
            .to_string();
        assert!(
            error.contains("x.yaml (the document that starts at line 3)"),
            "{error}"
        );
        let error = parse("a: 1\n", "x.yaml").err().expect("no kind").to_string();
        assert!(error.contains("Object 'Kind' is missing"), "{error}");
    }
}
