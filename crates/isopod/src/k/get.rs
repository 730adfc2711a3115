//! `get`: the server's own tables, or the objects themselves; once, or as they change.

use super::args::Get;
use super::client::{JSON, TABLE};
use super::error;
use super::output::Format;
use super::resources::{Kind, Target, query, text};
use super::watch::Events;
use super::{Session, print};
use crate::table::Columns;
use anyhow::{Result, bail};
use http::Method;
use serde_json::Value;
use std::process::ExitCode;

pub async fn get(session: &Session, args: &Get) -> Result<ExitCode> {
    let format = Format::parse(args.output.as_deref())?;
    let targets = session.targets(&args.targets)?;
    let named = targets.iter().any(|t| !t.names.is_empty());
    if named && args.all_namespaces {
        bail!("a resource cannot be retrieved by name across all namespaces");
    }
    if named && (args.selector.is_some() || args.field_selector.is_some()) {
        bail!("selectors may not be used when retrieving a resource by name");
    }
    let get = Getting {
        session,
        args,
        namespace: if args.all_namespaces {
            ""
        } else {
            &session.namespace
        },
        many: targets.len() > 1 || args.targets[0] == "all",
    };
    if args.watch {
        get.follow(&format, &targets).await?;
        return Ok(ExitCode::SUCCESS);
    }
    let failed = match &format {
        Format::Table { wide } => get.tables(&targets, *wide).await?,
        other => get.objects(&targets, other).await?,
    };
    Ok(if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

struct Getting<'a> {
    session: &'a Session,
    args: &'a Get,
    namespace: &'a str,
    /// Several kinds: each name is shown with its kind.
    many: bool,
}

impl Getting<'_> {
    fn selectors(&self) -> Vec<(&'static str, String)> {
        let labels = self.args.selector.iter().map(|s| ("labelSelector", s.clone()));
        let fields = self
            .args
            .field_selector
            .iter()
            .map(|s| ("fieldSelector", s.clone()));
        labels.chain(fields).collect()
    }

    /// The answers for one target: one for its list, or one for each name. Tells of errors, and whether there were any.
    async fn answers(&self, target: &Target, accept: &str) -> Result<(Vec<Value>, bool)> {
        if target.names.is_empty() {
            let path = format!(
                "{}{}",
                target.kind.collection(self.namespace),
                query(&self.selectors())
            );
            return Ok((
                vec![self.session.client.call(Method::GET, &path, accept, None).await?],
                false,
            ));
        }
        let (mut answers, mut failed) = (Vec::new(), false);
        for name in &target.names {
            let path = target.kind.object(self.namespace, name);
            match self.session.client.call(Method::GET, &path, accept, None).await {
                Ok(answer) => answers.push(answer),
                Err(error) if error::is_not_found(&error) && self.args.ignore_not_found => {}
                Err(error) => {
                    eprintln!("{}", error::shown(&error));
                    failed = true;
                }
            }
        }
        Ok((answers, failed))
    }

    async fn tables(&self, targets: &[Target], wide: bool) -> Result<bool> {
        let (mut printed, mut any_failed) = (false, false);
        for target in targets {
            let (answers, failed) = self.answers(target, TABLE).await?;
            any_failed |= failed;
            let mut header = Vec::new();
            let mut rows = Vec::new();
            for answer in &answers {
                let shown = self.shown(&target.kind, wide, &answer["columnDefinitions"]);
                rows.extend(shown.rows(answer));
                header = shown.header();
            }
            if rows.is_empty() {
                continue;
            }
            if !self.args.no_headers {
                rows.insert(0, header);
            }
            let gap = if printed { "\n" } else { "" };
            print(&format!("{gap}{}", Columns::default().lines(&rows)))?;
            printed = true;
        }
        if !printed && !any_failed && !self.args.ignore_not_found {
            match self.namespace.is_empty() || targets.iter().all(|t| !t.kind.namespaced) {
                true => eprintln!("No resources found"),
                false => eprintln!("No resources found in {} namespace.", self.namespace),
            }
        }
        Ok(any_failed)
    }

    fn shown(&self, kind: &Kind, wide: bool, definitions: &Value) -> Shown {
        let all = definitions.as_array().cloned().unwrap_or_default();
        let columns = all.iter().enumerate();
        let kept = columns.filter(|(_, c)| wide || c["priority"].as_i64().unwrap_or(0) == 0);
        Shown {
            columns: kept
                .map(|(at, c)| (at, text(c, "/name").to_uppercase()))
                .collect(),
            namespaces: self.args.all_namespaces && kind.namespaced,
            labels: self.args.show_labels,
            prefix: self.many.then(|| format!("{}/", kind.shown())),
        }
    }

    async fn objects(&self, targets: &[Target], format: &Format) -> Result<bool> {
        let (mut objects, mut any_failed) = (Vec::new(), false);
        let single = matches!(targets, [only] if only.names.len() == 1);
        for target in targets {
            let (answers, failed) = self.answers(target, JSON).await?;
            any_failed |= failed;
            for mut answer in answers {
                let items = match target.names.is_empty() {
                    true => match answer["items"].take() {
                        Value::Array(items) => typed(items, &target.kind),
                        _ => Vec::new(),
                    },
                    false => vec![answer],
                };
                objects.extend(items.into_iter().map(|o| (target.kind.clone(), self.tidied(o))));
            }
        }
        if single && objects.is_empty() {
            return Ok(any_failed);
        }
        print(&format.print(objects, single, !self.args.no_headers)?)?;
        Ok(any_failed)
    }

    fn tidied(&self, mut object: Value) -> Value {
        if !self.args.show_managed_fields
            && let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut)
        {
            metadata.remove("managedFields");
        }
        object
    }

    /// The list, then its changes, until the server or the user ends it.
    async fn follow(&self, format: &Format, targets: &[Target]) -> Result<()> {
        let [target] = targets else {
            bail!("you may only specify a single resource type");
        };
        let mut pairs = self.selectors();
        match target.names.as_slice() {
            [] => {}
            [name] => pairs.push(("fieldSelector", format!("metadata.name={name}"))),
            _ => bail!("you may only watch one object, or all of a type"),
        }
        let accept = if format.is_table() { TABLE } else { JSON };
        let base = target.kind.collection(self.namespace);
        let path = format!("{base}{}", query(&pairs));
        let list = self.session.client.call(Method::GET, &path, accept, None).await?;
        let mut columns = Columns::default();
        let mut shown = None;
        match format {
            Format::Table { wide } => {
                let now = self.shown(&target.kind, *wide, &list["columnDefinitions"]);
                let mut rows = now.rows(&list);
                if !self.args.no_headers && !rows.is_empty() {
                    rows.insert(0, now.header());
                }
                print(&columns.lines(&rows))?;
                shown = Some((now, rows.is_empty() && !self.args.no_headers));
            }
            _ => {
                let items = list["items"].as_array().cloned().unwrap_or_default();
                for item in typed(items, &target.kind) {
                    print(&format.print(vec![(target.kind.clone(), self.tidied(item))], true, false)?)?;
                }
            }
        }
        pairs.push((
            "resourceVersion",
            text(&list, "/metadata/resourceVersion").to_string(),
        ));
        pairs.push(("watch", "true".to_string()));
        let path = format!("{base}{}", query(&pairs));
        let mut events = Events::new(self.session.client.stream(&path, accept).await?);
        while let Some((event, object)) = events.next().await? {
            if event == "BOOKMARK" {
                continue;
            }
            match &mut shown {
                Some((shown, header_due)) => {
                    let mut rows = shown.rows(&object);
                    if std::mem::take(header_due) {
                        rows.insert(0, shown.header());
                    }
                    print(&columns.lines(&rows))?;
                }
                None => {
                    print(&format.print(vec![(target.kind.clone(), self.tidied(object))], true, false)?)?
                }
            }
        }
        Ok(())
    }
}

/// Items of a list do not say their kind; as objects of their own they do.
fn typed(mut items: Vec<Value>, kind: &Kind) -> Vec<Value> {
    let api_version = match kind.group.is_empty() {
        true => kind.version.clone(),
        false => format!("{}/{}", kind.group, kind.version),
    };
    for item in &mut items {
        if item.get("kind").is_none() {
            item["apiVersion"] = api_version.clone().into();
            item["kind"] = kind.kind.clone().into();
        }
    }
    items
}

/// Which columns of the server's table are shown, and what is added.
struct Shown {
    columns: Vec<(usize, String)>,
    namespaces: bool,
    labels: bool,
    prefix: Option<String>,
}

impl Shown {
    fn header(&self) -> Vec<String> {
        let namespace = self.namespaces.then(|| "NAMESPACE".to_string());
        let labels = self.labels.then(|| "LABELS".to_string());
        let names = self.columns.iter().map(|(_, name)| name.clone());
        namespace.into_iter().chain(names).chain(labels).collect()
    }

    fn rows(&self, table: &Value) -> Vec<Vec<String>> {
        let rows = table["rows"].as_array().map(Vec::as_slice).unwrap_or_default();
        rows.iter().map(|row| self.row(row)).collect()
    }

    fn row(&self, row: &Value) -> Vec<String> {
        let mut cells = Vec::new();
        if self.namespaces {
            cells.push(text(row, "/object/metadata/namespace").to_string());
        }
        for (place, (at, _)) in self.columns.iter().enumerate() {
            let cell = cell(&row["cells"][*at]);
            cells.push(match &self.prefix {
                Some(prefix) if place == 0 => format!("{prefix}{cell}"),
                _ => cell,
            });
        }
        if self.labels {
            let labels = row.pointer("/object/metadata/labels").and_then(Value::as_object);
            let pairs: Vec<String> = labels
                .into_iter()
                .flatten()
                .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
                .collect();
            cells.push(if pairs.is_empty() {
                "<none>".into()
            } else {
                pairs.join(",")
            });
        }
        cells
    }
}

/// One line: a cell with a line break is cut there, as kubectl does.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => "<none>".to_string(),
        Value::String(text) => match text.split_once(['\n', '\r', '\u{c}']) {
            Some((first, _)) => format!("{first}..."),
            None => text.clone(),
        },
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn rows_show_what_was_asked_for() {
        let shown = Shown {
            columns: vec![(0, "NAME".into()), (2, "AGE".into())],
            namespaces: true,
            labels: true,
            prefix: Some("pod/".into()),
        };
        let table = json!({"rows": [{"cells": ["web-0", "1/1", "5s"],
            "object": {"metadata": {"namespace": "default", "labels": {"a": "b", "c": "d"}}}}]});
        assert_eq!(shown.header(), ["NAMESPACE", "NAME", "AGE", "LABELS"]);
        assert_eq!(shown.rows(&table), [["default", "pod/web-0", "5s", "a=b,c=d"]]);
        assert_eq!(cell(&json!("a\nb")), "a...");
        assert_eq!(cell(&json!(3)), "3");
    }
}
