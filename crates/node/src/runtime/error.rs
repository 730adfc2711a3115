//! What can go wrong in a runtime, by what the pod machine does about it.

use std::path::Path;

use crate::shim::protocol::{ErrorKind, WireError};

#[derive(Clone, Debug, thiserror::Error)]
pub enum RuntimeError {
    /// The pod's surroundings could not be made: FailedCreatePodSandBox.
    #[error("failed to create pod sandbox: {0}")]
    Sandbox(String),
    /// CreateContainerError: there is no container; try again later.
    #[error("failed to create containerd task: {0}")]
    Create(String),
    /// RunContainerError: the container counts as ended with StartError and exit code 128.
    #[error("failed to start container: {message}")]
    Start { message: String },
    /// A command in a container could not run. `code` is what a shell would say: 126, 127 or 128.
    #[error("failed to exec in container: {message}")]
    Exec { message: String, code: i32 },
    #[error("{0}")]
    NotFound(String),
    /// The container or pod is not in the state that the call needs.
    #[error("{0}")]
    Conflict(String),
    /// The pod's shim is gone; its containers have ended.
    #[error("the shim of pod {0} is gone")]
    ShimGone(String),
    #[error("{what}: {error}")]
    Io {
        what: String,
        error: std::sync::Arc<std::io::Error>,
    },
    #[error("{0}")]
    Internal(String),
}

impl RuntimeError {
    pub fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |error| Self::Io {
            what,
            error: std::sync::Arc::new(error),
        }
    }

    pub fn path<'a>(verb: &'a str, path: &'a Path) -> impl FnOnce(std::io::Error) -> Self + 'a {
        move |error| Self::io(format!("{verb} {}", path.display()))(error)
    }

    pub(crate) fn from_start(error: WireError) -> Self {
        match error.kind {
            ErrorKind::Start => Self::Start {
                message: error.message,
            },
            ErrorKind::Create => Self::Create(error.message),
            _ => Self::from(error),
        }
    }

    pub(crate) fn from_exec(error: WireError) -> Self {
        match error.kind {
            ErrorKind::Start => Self::Exec {
                message: error.message,
                code: error.code,
            },
            _ => Self::from(error),
        }
    }
}

impl From<WireError> for RuntimeError {
    fn from(error: WireError) -> Self {
        match error.kind {
            ErrorKind::NotFound => Self::NotFound(error.message),
            ErrorKind::Conflict => Self::Conflict(error.message),
            _ => Self::Internal(error.message),
        }
    }
}
