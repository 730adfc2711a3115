//! `delete`: what was named, and the wait until it is gone.

use super::args::Delete;
use super::client::JSON;
use super::error;
use super::resources::{Kind, text};
use super::watch::TimedOut;
use super::{Session, print};
use anyhow::{Result, bail};
use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// One object to delete.
struct Doomed {
    kind: Kind,
    namespace: String,
    name: String,
}

pub async fn delete(session: &Session, args: &Delete) -> Result<()> {
    let grace = grace_seconds(args)?;
    let mut failed = false;
    let mut ends = Vec::new();
    for doomed in doomed(session, args).await? {
        match delete_one(session, args, grace, &doomed).await {
            Ok(uid) => ends.push((doomed, uid)),
            Err(error) if error::is_not_found(&error) && args.ignore_not_found => {}
            Err(error) => {
                failed = true;
                eprintln!("{}", error::shown(&error));
            }
        }
    }
    if args.wait && !args.force {
        let until = args.timeout.map(|t| Instant::now() + t.unsigned_abs());
        for (doomed, uid) in ends {
            let left = until.map(|u| u.saturating_duration_since(Instant::now()));
            gone(session, &doomed, &uid, left).await?;
        }
    }
    if failed {
        bail!("not everything could be deleted");
    }
    Ok(())
}

fn grace_seconds(args: &Delete) -> Result<Option<i64>> {
    if args.now && args.grace_period.is_some() {
        bail!("--now and --grace-period cannot be specified together");
    }
    match (args.grace_period.filter(|s| *s >= 0), args.force, args.now) {
        (None | Some(0), true, _) => {
            eprintln!(
                "Warning: Immediate deletion does not wait for confirmation that the running resource has been terminated. The resource may continue to run on the cluster indefinitely."
            );
            Ok(Some(0))
        }
        (Some(_), true, _) => bail!("--force and --grace-period greater than 0 cannot be specified together"),
        // Without --force an object is not taken away before it has ended.
        (Some(0), false, _) | (_, false, true) => Ok(Some(1)),
        (seconds, false, false) => Ok(seconds),
    }
}

async fn doomed(session: &Session, args: &Delete) -> Result<Vec<Doomed>> {
    if !args.files.files.is_empty() {
        let manifests = args.files.read()?;
        let ready = manifests.into_iter().map(|m| session.ready(m));
        // The last of a file goes first: what stands below depends on what is above.
        return ready
            .map(|r| {
                r.map(|r| Doomed {
                    kind: r.kind,
                    namespace: r.namespace,
                    name: r.name,
                })
            })
            .collect();
    }
    let mut all = Vec::new();
    for target in session.targets(&args.targets)? {
        let mut names = target.names;
        if names.is_empty() {
            if !args.all && args.selector.is_none() {
                bail!(
                    "resource(s) were provided, but no name was specified; name some, or say --all or -l SELECTOR"
                );
            }
            let list = session.list(&target.kind, args.selector.as_deref()).await?;
            names = list
                .iter()
                .map(|o| text(o, "/metadata/name").to_string())
                .collect();
        } else if args.all || args.selector.is_some() {
            bail!("name cannot be provided when a selector or --all is specified");
        }
        all.extend(names.into_iter().map(|name| Doomed {
            kind: target.kind.clone(),
            namespace: session.namespace.clone(),
            name,
        }));
    }
    if all.is_empty() {
        print("No resources found\n")?;
    }
    Ok(all)
}

/// Returns the object's UID: one of the same name that comes after it is another.
async fn delete_one(session: &Session, args: &Delete, grace: Option<i64>, doomed: &Doomed) -> Result<String> {
    let policy = match args.cascade.as_str() {
        "foreground" => "Foreground",
        "orphan" => "Orphan",
        _ => "Background",
    };
    let mut options = json!({"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": policy});
    if let Some(seconds) = grace {
        options["gracePeriodSeconds"] = seconds.into();
    }
    let path = doomed.kind.object(&doomed.namespace, &doomed.name);
    let body = Bytes::from(serde_json::to_vec(&options)?);
    let answer = session
        .client
        .call(Method::DELETE, &path, JSON, Some((JSON, body)))
        .await?;
    let how = if args.force { "force deleted" } else { "deleted" };
    let place = doomed.kind.place(&doomed.namespace);
    print(&format!(
        "{} \"{}\" {how}{place}\n",
        doomed.kind.shown(),
        doomed.name
    ))?;
    let uid = match answer["kind"] == "Status" {
        true => text(&answer, "/details/uid"),
        false => text(&answer, "/metadata/uid"),
    };
    Ok(uid.to_string())
}

async fn gone(session: &Session, doomed: &Doomed, uid: &str, limit: Option<Duration>) -> Result<()> {
    let other = |object: Option<&Value>| Ok(object.is_none_or(|o| text(o, "/metadata/uid") != uid));
    let place = &doomed.namespace;
    match session
        .until_in(place, &doomed.kind, &doomed.name, limit, other)
        .await
    {
        Err(error) if error.is::<TimedOut>() => {
            bail!("{error:#}; it has a finalizer or a pod that does not end?")
        }
        other => other,
    }
}
