//! `apply` (server-side) and `create`.

use super::args::{Apply, Create};
use super::client::{APPLY, JSON};
use super::error;
use super::manifests::Manifest;
use super::resources::{Kind, query, text};
use super::{Session, print};
use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};

const MANAGER: &str = "isopod";

/// An object that is ready to be sent.
pub struct Ready {
    pub kind: Kind,
    pub namespace: String,
    pub name: String,
    pub object: Value,
}

impl Session {
    /// Finds the kind and the namespace of what a file says.
    pub fn ready(&self, manifest: Manifest) -> Result<Ready> {
        let Manifest { mut object, from } = manifest;
        let kind = self
            .discovery
            .of_object(&object)
            .with_context(|| format!("unable to recognize {from}"))?;
        let own = text(&object, "/metadata/namespace").to_string();
        if kind.namespaced && !own.is_empty() && self.namespace_given && own != self.namespace {
            bail!(
                "the namespace from the provided object \"{own}\" does not match the namespace \"{}\". You must pass '--namespace={own}' to perform this operation.",
                self.namespace
            );
        }
        let namespace = if own.is_empty() {
            self.namespace.clone()
        } else {
            own
        };
        let name = text(&object, "/metadata/name").to_string();
        if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.remove("managedFields");
            if kind.namespaced {
                metadata.insert("namespace".into(), namespace.clone().into());
            }
        }
        Ok(Ready {
            kind,
            namespace,
            name,
            object,
        })
    }
}

/// Goes through all objects; what fails is told, and does not keep the others from being applied.
pub async fn apply(session: &Session, args: &Apply) -> Result<()> {
    let mut failed = 0;
    for manifest in args.files.read()? {
        let done = match session.ready(manifest) {
            Ok(ready) => apply_one(session, args, &ready).await,
            Err(error) => Err(error),
        };
        if let Err(error) = done {
            failed += 1;
            eprintln!("{}", error::shown(&error));
        }
    }
    match failed {
        0 => Ok(()),
        n => bail!("{n} of the objects could not be applied"),
    }
}

async fn apply_one(session: &Session, args: &Apply, ready: &Ready) -> Result<()> {
    if ready.name.is_empty() {
        bail!(
            "{} has no metadata.name; apply needs one (create takes generateName)",
            ready.kind.shown()
        );
    }
    let path = ready.kind.object(&ready.namespace, &ready.name);
    let before = match session.client.get(&path).await {
        Ok(object) => Some(text(&object, "/metadata/resourceVersion").to_string()),
        Err(error) if error::is_not_found(&error) => None,
        Err(error) => return Err(error),
    };
    let mut pairs = vec![
        ("fieldManager", MANAGER.to_string()),
        ("fieldValidation", "Strict".into()),
    ];
    if args.force_conflicts {
        pairs.push(("force", "true".into()));
    }
    let dry = args.dry_run == "server";
    if dry {
        pairs.push(("dryRun", "All".into()));
    }
    let body = Bytes::from(serde_json::to_vec(&ready.object)?);
    let path = format!("{path}{}", query(&pairs));
    let after = session
        .client
        .call(Method::PATCH, &path, JSON, Some((APPLY, body)))
        .await?;
    let what = match before {
        None => "created",
        Some(version) if version == text(&after, "/metadata/resourceVersion") => "unchanged",
        Some(_) => "configured",
    };
    let dry = if dry { " (server dry run)" } else { "" };
    print(&format!("{}/{} {what}{dry}\n", ready.kind.shown(), ready.name))
}

pub async fn create(session: &Session, args: &Create) -> Result<()> {
    let manifests = match args.target.as_slice() {
        [] => args.files.read()?,
        [kind, name] if kind == "namespace" || kind == "ns" => {
            let kind = session.discovery.resolve(kind)?;
            vec![Manifest {
                object: json!({"apiVersion": kind.version, "kind": kind.kind, "metadata": {"name": name}}),
                from: "the command line".into(),
            }]
        }
        _ => bail!("say: isopod k create namespace NAME, or -f FILE"),
    };
    for manifest in manifests {
        let ready = session.ready(manifest)?;
        let pairs = [
            ("fieldManager", MANAGER.to_string()),
            ("fieldValidation", "Strict".into()),
        ];
        let path = format!("{}{}", ready.kind.collection(&ready.namespace), query(&pairs));
        let body = Bytes::from(serde_json::to_vec(&ready.object)?);
        let made = session
            .client
            .call(Method::POST, &path, JSON, Some((JSON, body)))
            .await?;
        print(&format!(
            "{}/{} created\n",
            ready.kind.shown(),
            text(&made, "/metadata/name")
        ))?;
    }
    Ok(())
}
