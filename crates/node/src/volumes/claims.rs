//! The storage behind the class `standard`: a host folder for each volume, `<data>/volumes/<pv name>`.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Where the volume lies, or an error for a name that is no folder name.
pub fn path(data: &Path, pv_name: &str) -> io::Result<PathBuf> {
    let fine = !pv_name.is_empty() && !pv_name.starts_with('.') && !pv_name.contains(['/', '\0']);
    match fine {
        true => Ok(data.join("volumes").join(pv_name)),
        false => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("{pv_name:?} cannot be the name of a volume's folder"),
        )),
    }
}

/// Creates the volume's folder, writable by all (which user a container has is its own affair). Idempotent; never
/// touches a folder that is there.
pub fn provision(data: &Path, pv_name: &str) -> io::Result<PathBuf> {
    let dir = path(data, pv_name)?;
    fs::create_dir_all(data.join("volumes"))?;
    match fs::create_dir(&dir) {
        Ok(()) => {
            fs::set_permissions(&dir, fs::Permissions::from_mode(0o777))?;
            // The claim is told bound after this: the folder must then outlive a power cut.
            fs::File::open(data.join("volumes"))?.sync_all()?;
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error),
    }
    Ok(dir)
}

/// Removes the volume with all its data: reclaim policy `Delete`. Idempotent.
pub fn reclaim(data: &Path, pv_name: &str) -> io::Result<()> {
    match fs::remove_dir_all(path(data, pv_name)?) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
