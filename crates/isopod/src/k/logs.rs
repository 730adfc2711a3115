//! `logs`, and finding the pod behind a workload or a Service.

use super::args::Logs;
use super::resources::{Kind, query, text};
use super::{Session, error};
use anyhow::{Context, Result, bail};
use http_body_util::BodyExt;
use kinds::pod::PODS;
use serde_json::Value;
use std::io::Write;

const DEFAULT_CONTAINER: &str = "kubectl.kubernetes.io/default-container";
/// As kubectl: of many pods only the last lines of each.
const LINES_OF_MANY: i64 = 10;

pub async fn logs(session: &Session, args: &Logs) -> Result<()> {
    let pods = match (&args.selector, &args.target) {
        (Some(selector), _) => {
            let kind = session.discovery.resolve(PODS.plural)?;
            session.list(&kind, Some(selector)).await?
        }
        (None, Some(target)) => vec![pod_of(session, target).await?],
        (None, None) => bail!("say which pod, or -l SELECTOR"),
    };
    if args.follow && pods.len() > 1 {
        bail!("{} pods fit; follow one at a time", pods.len());
    }
    if pods.is_empty() {
        eprintln!("No resources found in {} namespace.", session.namespace);
    }
    let mut failed = false;
    for pod in &pods {
        if let Err(error) = one(session, args, pod).await {
            if pods.len() == 1 {
                return Err(error);
            }
            failed = true;
            eprintln!("{}", error::shown(&error));
        }
    }
    if failed {
        bail!("not all logs could be read");
    }
    Ok(())
}

async fn one(session: &Session, args: &Logs, pod: &Value) -> Result<()> {
    let mut pairs = vec![("container", container_of(pod, args.container.as_deref())?)];
    for (key, on) in [
        ("follow", args.follow),
        ("previous", args.previous),
        ("timestamps", args.timestamps),
    ] {
        if on {
            pairs.push((key, "true".to_string()));
        }
    }
    let many = args.selector.as_ref().map(|_| LINES_OF_MANY);
    if let Some(lines) = args.tail.or(many).filter(|n| *n >= 0) {
        pairs.push(("tailLines", lines.to_string()));
    }
    if let Some(since) = args.since {
        pairs.push(("sinceSeconds", since.as_secs().max(1).to_string()));
    }
    let kind = session.discovery.resolve(PODS.plural)?;
    let path = kind.object(&session.namespace, text(pod, "/metadata/name"));
    let mut body = session
        .client
        .stream(&format!("{path}/log{}", query(&pairs)), "*/*")
        .await?;
    let mut out = std::io::stdout().lock();
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame.context("the log broke off")?.into_data() {
            out.write_all(&data)?;
            out.flush()?;
        }
    }
    Ok(())
}

/// The container that is meant: the one named, the pod's default, or the first, which is then told.
pub fn container_of(pod: &Value, named: Option<&str>) -> Result<String> {
    let names = |list: &str| {
        let containers = pod.pointer(list).and_then(Value::as_array);
        let all = containers
            .into_iter()
            .flatten()
            .map(|c| text(c, "/name").to_string());
        all.collect::<Vec<_>>()
    };
    let main = names("/spec/containers");
    let name = text(pod, "/metadata/name");
    if let Some(named) = named {
        let all = [
            main,
            names("/spec/initContainers"),
            names("/spec/ephemeralContainers"),
        ]
        .concat();
        if !all.iter().any(|c| c == named) {
            bail!(
                "container {named} is not valid for pod {name}; it has: {}",
                all.join(", ")
            );
        }
        return Ok(named.to_string());
    }
    if let Some(chosen) = pod["metadata"]["annotations"][DEFAULT_CONTAINER].as_str()
        && main.iter().any(|c| c == chosen)
    {
        return Ok(chosen.to_string());
    }
    let first = main
        .first()
        .with_context(|| format!("pod {name} has no containers"))?;
    if main.len() > 1 {
        eprintln!("Defaulted container \"{first}\" out of: {}", main.join(", "));
    }
    Ok(first.clone())
}

/// The pod itself, or the first that runs of a workload's or a Service's.
pub async fn pod_of(session: &Session, target: &str) -> Result<Value> {
    let (kind, name) = session.pod_or(target)?;
    let object = session.read(&kind, &name).await?;
    if kind.is(PODS) {
        return Ok(object);
    }
    first_pod(session, &kind, &name, &object).await
}

async fn first_pod(session: &Session, kind: &Kind, name: &str, object: &Value) -> Result<Value> {
    let selector = selector(&object["spec"]["selector"])
        .with_context(|| format!("{}/{name} selects no pods", kind.shown()))?;
    let pods = session.discovery.resolve(PODS.plural)?;
    let all = session.list(&pods, Some(&selector)).await?;
    let running = all.iter().find(|p| p["status"]["phase"] == "Running");
    let chosen = running.or(all.first()).cloned();
    chosen.with_context(|| format!("{}/{name} has no pods", kind.shown()))
}

/// A label selector's text, from either of its forms.
fn selector(value: &Value) -> Option<String> {
    let map = value.as_object()?;
    let labels = match value.get("matchLabels").or(value.get("matchExpressions")) {
        Some(_) => value.get("matchLabels").and_then(Value::as_object),
        None => Some(map),
    };
    let equal = labels.into_iter().flatten();
    let mut parts: Vec<String> = equal
        .map(|(k, v)| format!("{k}={}", v.as_str().unwrap_or_default()))
        .collect();
    for e in value
        .get("matchExpressions")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        let key = text(e, "/key");
        let values = e["values"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str);
        let values: Vec<&str> = values.collect();
        parts.push(match text(e, "/operator") {
            "Exists" => key.to_string(),
            "DoesNotExist" => format!("!{key}"),
            operator => format!("{key} {} ({})", operator.to_lowercase(), values.join(",")),
        });
    }
    (!parts.is_empty()).then(|| parts.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn selectors_of_both_forms() {
        assert_eq!(selector(&json!({"app": "web"})).as_deref(), Some("app=web"));
        let both = json!({"matchLabels": {"a": "b"}, "matchExpressions": [
            {"key": "t", "operator": "In", "values": ["x", "y"]}, {"key": "z", "operator": "DoesNotExist"}]});
        assert_eq!(selector(&both).as_deref(), Some("a=b,t in (x,y),!z"));
        assert_eq!(selector(&json!({})), None);
    }

    #[test]
    fn the_container_that_is_meant() {
        let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "a"}, {"name": "b"}], "initContainers": [{"name": "i"}]}});
        assert_eq!(container_of(&pod, None).expect("first"), "a");
        assert_eq!(container_of(&pod, Some("i")).expect("named"), "i");
        assert!(container_of(&pod, Some("x")).is_err());
    }
}
