//! What can go wrong with images, by what the caller can do about it. Texts say what, where and what to do.

use std::path::{Path, PathBuf};

/// An error of the image store. `Io` is the machine's fault, all others are about what was given.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The name is no image reference (kubelet's reason: `InvalidImageName`).
    #[error("couldn't parse image name \"{name}\": invalid reference format: {why}")]
    InvalidName { name: String, why: String },
    /// No such image in the store.
    #[error(
        "image \"{name}\" is not in the store; see 'isopod image ls', and add it with 'isopod image build', 'isopod image load' or 'isopod image pull'"
    )]
    NotPresent { name: String },
    /// The given file or stream is no usable image archive.
    #[error("cannot load images from {source_name}: {what}; {hint}")]
    BadArchive {
        source_name: String,
        what: String,
        hint: &'static str,
    },
    /// What should become an image cannot run or cannot be read as asked.
    #[error("cannot build image: {what}")]
    BadBuild { what: String },
    /// A stored or fetched image is damaged, unsafe or too large.
    #[error("image {image}: {what}")]
    BadImage { image: String, what: String },
    /// Content does not have the digest that names it.
    #[error(
        "blob sha256:{expected} has the content of sha256:{actual}: it was damaged on the way or on disk; fetch the image again"
    )]
    DigestMismatch { expected: String, actual: String },
    /// A user string of a pod or image names nobody in the image.
    #[error("{0}")]
    NoSuchUser(String),
    /// The registry said no, or could not be asked.
    #[error(transparent)]
    Pull(#[from] super::pull::PullError),
    /// The disk or kernel refused.
    #[error("{what} {path}: {source}", path = path.display())]
    Io {
        what: &'static str,
        path: PathBuf,
        source: std::io::Error,
    },
}

pub type Result<T> = std::result::Result<T, Error>;

/// Adds what was tried, and where, to an IO error.
pub(crate) trait Context<T> {
    fn at(self, what: &'static str, path: &Path) -> Result<T>;
}

impl<T, E: Into<std::io::Error>> Context<T> for std::result::Result<T, E> {
    fn at(self, what: &'static str, path: &Path) -> Result<T> {
        self.map_err(|e| Error::Io {
            what,
            path: path.to_path_buf(),
            source: e.into(),
        })
    }
}
