//! Brings a container's image here, by its pull policy.

use super::perform::Job;
use crate::images::auth::Credentials;
use crate::images::{Error, Image, PullDecision, PullPolicy, pull_decision};
use crate::machine::{Outcome, PodEvent};
use k8s_openapi::api::core::v1::Secret;
use kinds::secret::SECRETS;

/// Registry credentials in secrets.
const KEYS: [&str; 2] = [".dockerconfigjson", ".dockercfg"];

pub async fn provide(job: &Job, container: &str) -> Outcome {
    let Some(spec) = job.pod.container_spec(container) else {
        return Outcome::Done;
    };
    let name = spec.image.clone().unwrap_or_default();
    let Some(images) = job.shell.images.clone() else {
        return Outcome::Image {
            id: name.clone(),
            name,
            message: "Simulated images are always there".to_owned(),
        };
    };
    let policy = PullPolicy::of(spec.image_pull_policy.as_deref(), &name);
    let (store, wanted) = (images.clone(), name.clone());
    let present = match job.shell.blocking(move || store.get(&wanted)).await {
        Ok(Ok(present)) => present,
        // A pull may mend what is here, and is due anyway.
        Ok(Err(Error::Io { .. } | Error::BadImage { .. } | Error::DigestMismatch { .. }))
            if policy == PullPolicy::Always =>
        {
            None
        }
        Ok(Err(error)) => return unusable(&name, &error),
        Err(message) => {
            return Outcome::NoImage {
                reason: "ImageInspectError",
                message: format!("Failed to inspect image \"{name}\": {message}"),
            };
        }
    };
    match (pull_decision(policy, present.is_some()), present) {
        (PullDecision::UsePresent, Some(image)) => {
            let message = format!(
                "Container image \"{name}\" already present on machine and can be accessed by the pod"
            );
            outcome(image, message)
        }
        (PullDecision::ErrImageNeverPull, _) => Outcome::NoImage {
            reason: "ErrImageNeverPull",
            message: format!("Container image \"{name}\" is not present with pull policy of Never"),
        },
        _ => pull(job, container, &name).await,
    }
}

async fn pull(job: &Job, container: &str, name: &str) -> Outcome {
    let Some(images) = &job.shell.images else {
        return Outcome::Done;
    };
    let event = PodEvent {
        warning: false,
        reason: "Pulling",
        message: format!("Pulling image \"{name}\""),
        field_path: job
            .pod
            .container(container)
            .map(|container| container.field_path.clone()),
    };
    job.shell.recorder.pod(&job.pod, event);
    let begun = job.shell.env.now();
    match images.pull(name, &credentials(job), &|_| {}).await {
        Ok(image) => {
            let took = job.shell.env.now().since(begun).as_millis();
            let size = image.size_bytes;
            let message = format!(
                "Successfully pulled image \"{name}\" in {took}ms ({took}ms including waiting). Image size: {size} bytes."
            );
            outcome(image, message)
        }
        Err(error @ Error::InvalidName { .. }) => unusable(name, &error),
        Err(error) => Outcome::NoImage {
            reason: "ErrImagePull",
            message: error.to_string(),
        },
    }
}

fn outcome(image: Image, message: String) -> Outcome {
    Outcome::Image {
        name: image.name,
        id: image.repo_digest,
        message,
    }
}

/// Found out before any pull.
fn unusable(name: &str, error: &Error) -> Outcome {
    let (reason, what) = match error {
        Error::InvalidName { .. } => ("InvalidImageName", "apply default image tag"),
        _ => ("ImageInspectError", "inspect image"),
    };
    Outcome::NoImage {
        reason,
        message: format!("Failed to {what} \"{name}\": {error}"),
    }
}

/// Those of the pod's `imagePullSecrets`; what is missing or unusable is left out, as upstream does.
fn credentials(job: &Job) -> Credentials {
    let mut all = Credentials::default();
    let snapshot = job.shell.client.snapshot();
    let references = job
        .pod
        .pod
        .spec
        .iter()
        .flat_map(|spec| spec.image_pull_secrets.iter().flatten());
    for reference in references {
        let Some(object) = snapshot.get(SECRETS, &job.pod.namespace, &reference.name) else {
            continue;
        };
        let Ok(secret) = object.typed::<Secret>() else {
            continue;
        };
        let data = secret
            .data
            .iter()
            .flatten()
            .filter(|(key, _)| KEYS.contains(&key.as_str()));
        for (_, bytes) in data {
            match Credentials::parse(&bytes.0) {
                Ok(credentials) => all.merge(credentials),
                Err(why) => tracing::warn!(
                    secret = reference.name,
                    why,
                    "an image pull secret cannot be used"
                ),
            }
        }
    }
    all
}
