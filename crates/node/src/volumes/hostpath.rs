//! hostPath volumes: the checks of their types, in upstream's words.

use std::fs;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// Checks what is at the path, or makes it where the type says so. An empty type makes a missing folder, as container
/// engines do.
pub fn check(path: &Path, kind: Option<&str>) -> Result<(), String> {
    if !path.is_absolute() {
        return Err(format!("hostPath {} must be an absolute path", path.display()));
    }
    let meta = match fs::metadata(path) {
        Ok(meta) => Some(meta),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(format!("hostPath {}: {error}", path.display())),
    };
    let creating = |error: std::io::Error| format!("hostPath {} cannot be created: {error}", path.display());
    if meta.is_none() {
        match kind {
            None | Some("" | "DirectoryOrCreate") => {
                fs::create_dir_all(path).map_err(creating)?;
                return fs::set_permissions(path, fs::Permissions::from_mode(0o755)).map_err(creating);
            }
            Some("FileOrCreate") => {
                let made = fs::OpenOptions::new()
                    .write(true)
                    .create(true)
                    .truncate(false)
                    .mode(0o644)
                    .open(path);
                return made.map(|_| ()).map_err(creating);
            }
            _ => {}
        }
    }
    let is = |test: fn(&fs::Metadata) -> bool| meta.as_ref().is_some_and(test);
    let (right, what) = match kind {
        None | Some("") => (true, ""),
        Some("Directory" | "DirectoryOrCreate") => (is(|m| m.is_dir()), "a directory"),
        Some("File" | "FileOrCreate") => (is(|m| m.is_file()), "a file"),
        Some("Socket") => (is(|m| m.file_type().is_socket()), "a socket file"),
        Some("CharDevice") => (is(|m| m.file_type().is_char_device()), "a character device"),
        Some("BlockDevice") => (is(|m| m.file_type().is_block_device()), "a block device"),
        Some(other) => return Err(format!("{other} is an invalid volume type")),
    };
    match right {
        true => Ok(()),
        false => Err(format!(
            "hostPath type check failed: {} is not {what}",
            path.display()
        )),
    }
}
