//! `describe`: an object's fields, line by line, and its events.

use super::args::Describe;
use super::resources::{query, text};
use super::{Session, print};
use crate::table::Columns;
use anyhow::Result;
use kinds::event::EVENTS;
use serde_json::Value;

pub async fn describe(session: &Session, args: &Describe) -> Result<()> {
    let mut first = true;
    for target in session.targets(&args.targets)? {
        let objects = match target.names.is_empty() {
            true => session.list(&target.kind, args.selector.as_deref()).await?,
            false => {
                let reads = target.names.iter().map(|name| session.read(&target.kind, name));
                futures::future::try_join_all(reads).await?
            }
        };
        for object in objects {
            let gap = if std::mem::take(&mut first) { "" } else { "\n\n" };
            let events = events(session, &object).await?;
            print(&format!("{gap}{}{events}", fields(&object)))?;
        }
    }
    Ok(())
}

const WIDTH: usize = 18;

fn fields(object: &Value) -> String {
    let mut out = String::new();
    let mut line = |label: &str, value: &str| {
        let label = if label.is_empty() {
            String::new()
        } else {
            format!("{label}:")
        };
        out.push_str(&format!("{label:<WIDTH$}{value}\n"));
    };
    line("Name", text(object, "/metadata/name"));
    if let Some(namespace) = object.pointer("/metadata/namespace").and_then(Value::as_str) {
        line("Namespace", namespace);
    }
    for (label, key) in [("Labels", "labels"), ("Annotations", "annotations")] {
        let map = object["metadata"][key].as_object();
        let pairs: Vec<String> = map
            .into_iter()
            .flatten()
            .map(|(k, v)| format!("{k}={}", v.as_str().unwrap_or_default()))
            .collect();
        match pairs.split_first() {
            None => line(label, "<none>"),
            Some((head, rest)) => {
                line(label, head);
                for pair in rest {
                    line("", pair);
                }
            }
        }
    }
    line("Created", text(object, "/metadata/creationTimestamp"));
    if let Some(time) = object
        .pointer("/metadata/deletionTimestamp")
        .and_then(Value::as_str)
    {
        line("Deleting since", time);
    }
    let owners = object
        .pointer("/metadata/ownerReferences")
        .and_then(Value::as_array);
    for owner in owners.into_iter().flatten().filter(|o| o["controller"] == true) {
        line(
            "Controlled By",
            &format!("{}/{}", text(owner, "/kind"), text(owner, "/name")),
        );
    }
    let skipped = ["apiVersion", "kind", "metadata"];
    for (key, value) in object.as_object().into_iter().flatten() {
        if !skipped.contains(&key.as_str()) {
            tree(&mut out, &heading(key), value, 0);
        }
    }
    out
}

/// `restartPolicy` as `Restart Policy`.
fn heading(key: &str) -> String {
    let mut out = String::new();
    for (at, c) in key.chars().enumerate() {
        if c.is_uppercase() && at > 0 && !out.ends_with(char::is_uppercase) {
            out.push(' ');
        }
        out.extend(if at == 0 {
            c.to_uppercase().collect::<Vec<_>>()
        } else {
            vec![c]
        });
    }
    out
}

fn tree(out: &mut String, label: &str, value: &Value, depth: usize) {
    let pad = "  ".repeat(depth);
    match value {
        Value::Object(map) if map.is_empty() => out.push_str(&format!("{pad}{label}:  <none>\n")),
        Value::Object(map) => {
            out.push_str(&format!("{pad}{label}:\n"));
            // Names of labels and the like stay as they are; fields become headings.
            for (key, value) in map {
                tree(out, &heading(key), value, depth + 1);
            }
        }
        Value::Array(list) if list.iter().all(|v| !v.is_object() && !v.is_array()) => {
            let items: Vec<String> = list.iter().map(super::jsonpath::shown).collect();
            out.push_str(&format!("{pad}{label}:  {}\n", items.join(" ")));
        }
        Value::Array(list) => {
            out.push_str(&format!("{pad}{label}:\n"));
            for item in list {
                let name = ["name", "type", "ip"].iter().find_map(|key| item[*key].as_str());
                tree(out, name.unwrap_or("-"), item, depth + 1);
            }
        }
        other => out.push_str(&format!("{pad}{label}:  {}\n", super::jsonpath::shown(other))),
    }
}

async fn events(session: &Session, object: &Value) -> Result<String> {
    let kind = session.discovery.resolve(EVENTS.plural)?;
    let uid = text(object, "/metadata/uid");
    let namespace = match text(object, "/metadata/namespace") {
        "" => "default",
        namespace => namespace,
    };
    let only = [("fieldSelector", format!("involvedObject.uid={uid}"))];
    let list = session
        .client
        .get(&format!("{}{}", kind.collection(namespace), query(&only)))
        .await?;
    let mut all = list["items"].as_array().cloned().unwrap_or_default();
    if all.is_empty() {
        return Ok(format!("{:<WIDTH$}<none>\n", "Events:"));
    }
    let last = |e: &Value| {
        let times = ["/lastTimestamp", "/eventTime", "/metadata/creationTimestamp"];
        let found = times.iter().map(|t| text(e, t)).find(|t| !t.is_empty());
        found.unwrap_or_default().to_string()
    };
    all.sort_by_key(last);
    let words = |list: [&str; 5]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
    let mut rows = vec![
        words(["  Type", "Reason", "Age", "From", "Message"]),
        words(["  ----", "------", "----", "----", "-------"]),
    ];
    for event in &all {
        let from = match text(event, "/source/component") {
            "" => text(event, "/reportingComponent"),
            component => component,
        };
        let count = event["count"]
            .as_i64()
            .filter(|n| *n > 1)
            .map(|n| format!(" (x{n})"));
        rows.push(vec![
            format!("  {}", text(event, "/type")),
            text(event, "/reason").to_string(),
            format!("{}{}", age(&last(event)), count.unwrap_or_default()),
            from.to_string(),
            text(event, "/message").trim().to_string(),
        ]);
    }
    Ok(format!("Events:\n{}", Columns::default().lines(&rows)))
}

/// How long ago, in the largest unit that fits.
fn age(time: &str) -> String {
    let Ok(then) = time.parse::<jiff::Timestamp>() else {
        return "<unknown>".into();
    };
    let seconds = jiff::Timestamp::now().duration_since(then).as_secs().max(0);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7200 => format!("{}m", seconds / 60),
        7200..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn fields_read_line_by_line() {
        let object = json!({"metadata": {"name": "web", "namespace": "a", "labels": {"x": "y", "z": "1"}, "creationTimestamp": "t"},
            "spec": {"replicas": 3, "clusterIP": "1.2.3.4", "ports": [{"name": "http", "port": 80}], "args": ["a", "b"]}});
        let expected = "\
Name:             web
Namespace:        a
Labels:           x=y
                  z=1
Annotations:      <none>
Created:          t
Spec:
  Args:  a b
  Cluster IP:  1.2.3.4
  Ports:
    http:
      Name:  http
      Port:  80
  Replicas:  3
";
        assert_eq!(fields(&object), expected);
    }
}
