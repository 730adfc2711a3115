//! What `-o` names.

use super::jsonpath::{self, Path, Template};
use super::resources::{Kind, text};
use crate::table::Columns;
use anyhow::{Result, bail};
use serde_json::{Value, json};

pub enum Format {
    Table { wide: bool },
    Json,
    Yaml,
    Name,
    Template(Template),
    Columns(Vec<(String, Path)>),
}

impl Format {
    pub fn parse(word: Option<&str>) -> Result<Self> {
        let Some(word) = word else {
            return Ok(Self::Table { wide: false });
        };
        let (name, rest) = word.split_once('=').unwrap_or((word, ""));
        Ok(match name {
            "wide" => Self::Table { wide: true },
            "json" => Self::Json,
            "yaml" => Self::Yaml,
            "name" => Self::Name,
            "jsonpath" if rest.is_empty() => bail!("template format specified but no template given"),
            "jsonpath" => Self::Template(Template::parse(rest)?),
            "custom-columns" => Self::Columns(columns(rest)?),
            _ => bail!(
                "unable to match a printer suitable for the output format \"{word}\", allowed formats are: custom-columns,json,jsonpath,name,wide,yaml"
            ),
        })
    }

    pub fn is_table(&self) -> bool {
        matches!(self, Self::Table { .. })
    }

    /// Objects of any kinds; `single` when one was asked for by its name. A table is not printed here.
    pub fn print(&self, objects: Vec<(Kind, Value)>, single: bool, headers: bool) -> Result<String> {
        match self {
            Self::Table { .. } => bail!("a table is made of the server's rows"),
            Self::Name => Ok(objects
                .iter()
                .map(|(kind, object)| format!("{}/{}\n", kind.shown(), text(object, "/metadata/name")))
                .collect()),
            Self::Columns(columns) => Ok(custom(columns, &objects, headers)),
            Self::Json => Ok(format!(
                "{}\n",
                serde_json::to_string_pretty(&whole(objects, single))?
            )),
            Self::Yaml => Ok(codec::to_yaml(&whole(objects, single))?),
            Self::Template(template) => Ok(template.render(&whole(objects, single))),
        }
    }
}

fn columns(text: &str) -> Result<Vec<(String, Path)>> {
    if text.is_empty() {
        bail!("custom-columns format specified but no custom columns given");
    }
    let column = |part: &str| match part.split_once(':') {
        Some((header, path)) if !header.is_empty() => Ok((header.to_string(), Path::parse(path)?)),
        _ => bail!("unexpected custom-columns spec: {part}, expected <header>:<json-path-expr>"),
    };
    text.split(',').map(column).collect()
}

fn custom(columns: &[(String, Path)], objects: &[(Kind, Value)], headers: bool) -> String {
    let mut rows = Vec::new();
    if headers {
        rows.push(columns.iter().map(|(header, _)| header.clone()).collect());
    }
    rows.extend(objects.iter().map(|(_, object)| {
        let cell = |(_, path): &(String, Path)| {
            let found: Vec<String> = path.find(object).into_iter().map(jsonpath::shown).collect();
            if found.is_empty() {
                "<none>".to_string()
            } else {
                found.join(",")
            }
        };
        columns.iter().map(cell).collect()
    }));
    Columns::default().lines(&rows)
}

/// One object as it is, or kubectl's own List.
fn whole(objects: Vec<(Kind, Value)>, single: bool) -> Value {
    let mut all: Vec<Value> = objects.into_iter().map(|(_, object)| object).collect();
    if single && all.len() == 1 {
        return all.remove(0);
    }
    json!({"apiVersion": "v1", "kind": "List", "items": all, "metadata": {"resourceVersion": ""}})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_and_their_errors() {
        assert!(matches!(Format::parse(None), Ok(Format::Table { wide: false })));
        assert!(matches!(
            Format::parse(Some("wide")),
            Ok(Format::Table { wide: true })
        ));
        for bad in [
            "xml",
            "jsonpath",
            "jsonpath={.a",
            "custom-columns",
            "custom-columns=A",
        ] {
            assert!(Format::parse(Some(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn custom_columns_stand_in_line() {
        let columns = columns("NAME:.metadata.name,PHASE:{.status.phase}").expect("columns");
        let kind = super::super::resources::Kind::for_tests();
        let objects = [
            (
                kind.clone(),
                json!({"metadata": {"name": "a-long-one"}, "status": {"phase": "Running"}}),
            ),
            (kind, json!({"metadata": {"name": "b"}})),
        ];
        let text = custom(&columns, &objects, true);
        assert_eq!(
            text,
            "NAME         PHASE\na-long-one   Running\nb            <none>\n"
        );
    }
}
