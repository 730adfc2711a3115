//! `cargo xtask gen`: the table of protobuf field numbers, `crates/kinds/src/wire.txt`. The facts are read from the
//! API's Go modules, which are the protobuf schema's source; `gen --check` tells whether the table is up to date.

use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

const VERSION: &str = "v0.36.6";
const MODULES: [&str; 4] = [
    "k8s.io/api",
    "k8s.io/apimachinery",
    "k8s.io/apiextensions-apiserver",
    "k8s.io/kube-aggregator",
];
/// Packages with stable types: folder within the module, and our name for it.
const PACKAGES: [(usize, &str, &str); 30] = [
    (0, "core/v1", "core.v1"),
    (0, "apps/v1", "apps.v1"),
    (0, "batch/v1", "batch.v1"),
    (0, "autoscaling/v1", "autoscaling.v1"),
    (0, "autoscaling/v2", "autoscaling.v2"),
    (0, "policy/v1", "policy.v1"),
    (0, "rbac/v1", "rbac.v1"),
    (0, "networking/v1", "networking.v1"),
    (0, "storage/v1", "storage.v1"),
    (0, "discovery/v1", "discovery.v1"),
    (0, "coordination/v1", "coordination.v1"),
    (0, "events/v1", "events.v1"),
    (0, "node/v1", "node.v1"),
    (0, "scheduling/v1", "scheduling.v1"),
    (0, "certificates/v1", "certificates.v1"),
    (0, "admissionregistration/v1", "admissionregistration.v1"),
    (0, "authentication/v1", "authentication.v1"),
    (0, "authorization/v1", "authorization.v1"),
    (0, "flowcontrol/v1", "flowcontrol.v1"),
    (0, "resource/v1", "resource.v1"),
    (0, "apidiscovery/v2", "apidiscovery.v2"),
    (0, "apidiscovery/v2beta1", "apidiscovery.v2beta1"),
    (1, "pkg/apis/meta/v1", "meta.v1"),
    (1, "pkg/apis/meta/v1beta1", "meta.v1beta1"),
    (1, "pkg/api/resource", "resource"),
    (1, "pkg/util/intstr", "intstr"),
    (1, "pkg/runtime", "runtime"),
    (1, "pkg/types", "types"),
    (2, "pkg/apis/apiextensions/v1", "apiextensions.v1"),
    (3, "pkg/apis/apiregistration/v1", "apiregistration.v1"),
];

/// Import path by alias.
type Imports = BTreeMap<String, String>;

/// Structs and other named types of one package.
#[derive(Default)]
struct Package {
    /// The API group, where the package is a version of one.
    group: Option<String>,
    structs: BTreeMap<String, Vec<GoField>>,
    /// What it stands for, and the imports of its file.
    named: BTreeMap<String, (String, Imports)>,
}

struct GoField {
    number: u32,
    json: String,
    go_type: String,
    inline: bool,
    omit_empty: bool,
    imports: Imports,
}

pub fn generate(root: &Path, check: bool) -> Result<()> {
    let table = table()?;
    let path = root.join("crates/kinds/src/wire.txt");
    if check {
        let stored = std::fs::read_to_string(&path).unwrap_or_default();
        if stored != table {
            bail!(
                "{} is not what the API's modules {VERSION} say; run: cargo xtask gen",
                path.display()
            );
        }
        return Ok(());
    }
    std::fs::write(&path, table).with_context(|| format!("cannot write {}", path.display()))
}

fn module_folder(module: &str) -> Result<PathBuf> {
    let output = Command::new("go")
        .args(["mod", "download", "-json", &format!("{module}@{VERSION}")])
        .output();
    let output = output.context("gen reads the API's Go modules and needs `go`")?;
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).with_context(|| {
        format!(
            "go mod download {module}: {}",
            String::from_utf8_lossy(&output.stderr)
        )
    })?;
    let folder = json.get("Dir").and_then(|d| d.as_str());
    Ok(folder
        .with_context(|| format!("go mod download gave no folder for {module}"))?
        .into())
}

fn table() -> Result<String> {
    let mut folders = Vec::new();
    for module in MODULES {
        folders.push(module_folder(module)?);
    }
    let mut packages = BTreeMap::new();
    for (module, folder, name) in &PACKAGES {
        packages.insert((*name).to_string(), read_package(&folders[*module].join(folder))?);
    }
    let mut out = String::from(
        "# Protobuf field numbers of the stable API. Written by `cargo xtask gen`; not to be edited.\n\
         # type: field=number kind; kinds: s string, y bytes, i integer, b boolean, d double, m TYPE message;\n\
         # before the kind: + list, % map of, ~ inline; after it: * pointer, ! always written.\n\
         # @package group: what stands for a version of an API group.\n",
    );
    for (name, package) in &packages {
        if let Some(group) = &package.group {
            writeln!(out, "@{name} {group}")?;
        }
    }
    for (name, package) in &packages {
        for (go_name, fields) in &package.structs {
            let mut parts = Vec::new();
            for field in fields {
                let kind = kind_of(&packages, name, field)?;
                let star = if field.go_type.starts_with('*') { "*" } else { "" };
                let always = if field.omit_empty || field.inline { "" } else { "!" };
                let inline = if field.inline { "~" } else { "" };
                parts.push(format!(
                    "{}={} {inline}{kind}{star}{always}",
                    field.json, field.number
                ));
            }
            if !parts.is_empty() {
                writeln!(out, "{name}.{go_name}: {}", parts.join("; "))?;
            }
        }
    }
    Ok(out)
}

fn read_package(folder: &Path) -> Result<Package> {
    let mut package = Package::default();
    let mut files: Vec<PathBuf> = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        files.push(entry?.path());
    }
    files.sort();
    for file in files {
        let name = file
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let skipped = !name.ends_with(".go")
            || name.ends_with("_test.go")
            || name.starts_with("zz_")
            || name.ends_with(".pb.go");
        if !skipped {
            let text = std::fs::read_to_string(&file)?;
            let group = text.lines().find_map(|l| l.strip_prefix("const GroupName = "));
            package.group = group.map(|g| g.trim_matches('"').to_string()).or(package.group);
            read_file(&text, &mut package);
        }
    }
    Ok(package)
}

fn read_file(text: &str, package: &mut Package) {
    let imports = imports(text);
    let mut current: Option<String> = None;
    for line in text.lines() {
        let trimmed = line.trim();
        if let Some(rest) = line.strip_prefix("type ") {
            let Some((name, what)) = rest.split_once(' ') else {
                continue;
            };
            current = None;
            match what.trim() {
                "struct {" => current = Some(name.to_string()),
                "interface {" => {}
                other => {
                    let what = other.split("//").next().unwrap_or_default().trim().to_string();
                    package.named.insert(name.to_string(), (what, imports.clone()));
                }
            }
        } else if line == "}" {
            current = None;
        } else if let Some(name) = &current
            && !trimmed.starts_with("//")
            && let Some(field) = field(trimmed, &imports)
        {
            package.structs.entry(name.clone()).or_default().push(field);
        }
    }
}

fn imports(text: &str) -> Imports {
    let block = text
        .split_once("import (")
        .and_then(|(_, rest)| rest.split_once(')'))
        .map_or("", |(block, _)| block);
    let single = text
        .lines()
        .filter_map(|line| line.strip_prefix("import "))
        .filter(|line| line.ends_with('"'));
    let mut out = Imports::new();
    for line in block.lines().chain(single) {
        let mut words = line.split_whitespace().rev();
        let Some(path) = words.next().map(|p| p.trim_matches('"').to_string()) else {
            continue;
        };
        let alias = words.next().map_or_else(
            || path.rsplit('/').next().unwrap_or_default().to_string(),
            str::to_string,
        );
        out.insert(alias, path);
    }
    out
}

/// A struct's line with a protobuf tag.
fn field(line: &str, imports: &Imports) -> Option<GoField> {
    let (code, tags) = line.split_once('`')?;
    let tag = |name: &str| Some(tags.split_once(&format!("{name}:\""))?.1.split_once('"')?.0);
    let protobuf = tag("protobuf")?;
    let number = protobuf.split(',').nth(1)?.parse().ok()?;
    let json = tag("json").unwrap_or_default();
    let mut words = code.split_whitespace();
    let first = words.next()?;
    let go_type = words.next().unwrap_or(first).to_string();
    let mut json_parts = json.split(',');
    let json_name = json_parts.next().unwrap_or_default();
    let inline = json_name.is_empty();
    let proto_name = protobuf
        .split(',')
        .find_map(|p| p.strip_prefix("name="))
        .unwrap_or_default();
    Some(GoField {
        number,
        json: if inline {
            proto_name.to_string()
        } else {
            json_name.to_string()
        },
        go_type,
        inline,
        omit_empty: json_parts.any(|p| p == "omitempty" || p == "omitzero"),
        imports: imports.clone(),
    })
}

/// Our name of a Go package's import path.
fn package_name(path: &str) -> Option<String> {
    let (module, rest) = MODULES
        .iter()
        .enumerate()
        .find_map(|(i, m)| Some((i, path.strip_prefix(m)?.strip_prefix('/')?)))?;
    let found = PACKAGES
        .iter()
        .find(|(m, folder, _)| *m == module && *folder == rest);
    found.map(|(_, _, name)| (*name).to_string())
}

fn kind_of(packages: &BTreeMap<String, Package>, package: &str, field: &GoField) -> Result<String> {
    kind(packages, package, &field.imports, &field.go_type, 0)
        .with_context(|| format!("field {} of type {} in {package}", field.json, field.go_type))
}

fn kind(
    packages: &BTreeMap<String, Package>,
    package: &str,
    imports: &Imports,
    go_type: &str,
    depth: usize,
) -> Result<String> {
    if depth > 8 {
        bail!("type {go_type} is nested too deeply");
    }
    let again = |t: &str| kind(packages, package, imports, t, depth + 1);
    if let Some(inner) = go_type.strip_prefix('*') {
        return again(inner);
    }
    if go_type == "[]byte" {
        return Ok("y".into());
    }
    if let Some(inner) = go_type.strip_prefix("[]") {
        return Ok(format!("+{}", again(inner)?));
    }
    if let Some(rest) = go_type.strip_prefix("map[") {
        let (_, value) = rest.split_once(']').context("a map without a closing bracket")?;
        return Ok(format!("%{}", again(value)?));
    }
    match go_type {
        "string" => return Ok("s".into()),
        "bool" => return Ok("b".into()),
        "time.Duration" | "int" | "int32" | "int64" | "uint32" | "uint64" | "uint8" => return Ok("i".into()),
        "float64" => return Ok("d".into()),
        _ => {}
    }
    let (home, name) = match go_type.split_once('.') {
        Some((alias, name)) => {
            let path = imports
                .get(alias)
                .with_context(|| format!("no import for {alias}"))?;
            (
                package_name(path).with_context(|| format!("package {path} is not read"))?,
                name,
            )
        }
        None => (package.to_string(), go_type),
    };
    let known = packages
        .get(&home)
        .with_context(|| format!("package {home} is not read"))?;
    if let Some((named, imports)) = known.named.get(name) {
        // A named list is a message of its own, with its items as field 1.
        if let Some(inner) = named
            .strip_prefix("[]")
            .filter(|_| name == "ExtraValue" || name == "Verbs")
        {
            return Ok(format!("m []{inner}"));
        }
        return kind(packages, &home, imports, named, depth + 1);
    }
    Ok(format!("m {home}.{name}"))
}
