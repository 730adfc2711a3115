//! Volumes that images declare, on a real disk: what they begin with, where they are not made, and when they go.

use crate::images::{Scratch, open};
use crate::layers::{Entry, docker_archive_with, layer};
use node::images::{DefinedVolume, Error, Image, Images, MountPoints, fill_volumes};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

fn load(images: &Images, volumes: &[&str], layers: &[Vec<u8>]) -> Image {
    let volumes: serde_json::Map<String, Value> = volumes
        .iter()
        .map(|path| ((*path).to_owned(), json!({})))
        .collect();
    let archive = docker_archive_with(json!({"Cmd": ["/x"], "Volumes": volumes}), "v:1", layers);
    images.load(archive.as_slice(), "test", None).expect("load");
    images.require("v:1").expect("loaded")
}

fn mount(
    images: &Images,
    image: &Image,
    dir: &Path,
    mounted: &[&str],
) -> Result<(PathBuf, Vec<DefinedVolume>), Error> {
    let volumes = image.defined_volumes(dir, mounted.iter().map(Path::new))?;
    let paths = volumes
        .iter()
        .map(|volume| (&*volume.source, &*volume.destination));
    let rootfs = images.rootfs(image, dir, &MountPoints::new(paths))?;
    fill_volumes(&rootfs, &volumes)?;
    Ok((rootfs, volumes))
}

fn destinations(volumes: &[DefinedVolume]) -> Vec<String> {
    volumes
        .iter()
        .map(|volume| volume.destination.display().to_string())
        .collect()
}

/// A layer of what is in a folder, with its owners and modes.
fn layer_of(folder: &Path) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    tar.follow_symlinks(false);
    tar.append_dir_all(".", folder).expect("append");
    tar.into_inner().expect("finish")
}

/// Files of many kinds, owners and modes.
fn tree(above: &Path) -> PathBuf {
    let folder = above.join("tree");
    fs::create_dir_all(folder.join("data/private")).expect("mkdir");
    fs::write(folder.join("data/private/key"), "secret").expect("write");
    for (path, uid, mode) in [
        ("data/private/key", 5, 0o4640),
        ("data/private", 7, 0o750),
        ("data", 9, 0o1777),
    ] {
        let path = folder.join(path);
        chown(&path, Some(uid), Some(uid + 1)).expect("chown"); // takes set-id bits away, so it comes first
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("chmod");
    }
    nix::unistd::mkfifo(
        &folder.join("data/pipe"),
        nix::sys::stat::Mode::from_bits_truncate(0o622),
    )
    .expect("fifo");
    folder
}

#[test]
fn a_volume_begins_with_what_the_image_has_there() {
    use Entry::*;
    let scratch = Scratch::new();
    let folder = tree(scratch.path());
    let more = [
        File("data/one", "1"),
        Hard("data/private/two", "data/one"),
        File("data/gone", "x"),
    ];
    let last = [File("data/.wh.gone", ""), File("beside", "b")];
    let images = open(scratch.path());
    let image = load(
        &images,
        &["/data", "new/deep"],
        &[layer_of(&folder), layer(&more), layer(&last)],
    );

    let dir = scratch.path().join("c");
    let (rootfs, volumes) = mount(&images, &image, &dir, &[]).expect("made");
    assert_eq!(destinations(&volumes), ["/data", "/new/deep"]);
    let of = |path: &Path| {
        let meta = fs::symlink_metadata(path).expect("stat");
        (meta.mode() & 0o7777, meta.uid(), meta.gid())
    };
    let data = &volumes[0].source;
    assert!(
        data.starts_with(&dir) && !data.starts_with(&rootfs),
        "{}",
        data.display()
    );
    assert_eq!(of(data), (0o1777, 9, 10));
    assert_eq!(of(&data.join("private")), (0o750, 7, 8));
    assert_eq!(of(&data.join("private/key")), (0o4640, 5, 6));
    let time = |path: &Path| fs::metadata(path).expect("stat").modified().expect("a time");
    for path in ["private", "private/key"] {
        assert_eq!(
            time(&data.join(path)),
            time(&rootfs.join("data").join(path)),
            "{path}"
        );
    }
    assert!(
        fs::symlink_metadata(data.join("pipe"))
            .expect("stat")
            .file_type()
            .is_fifo()
    );
    let one = fs::metadata(data.join("one")).expect("stat");
    assert_eq!(
        (one.nlink(), one.ino()),
        (2, fs::metadata(data.join("private/two")).expect("stat").ino())
    );
    assert!(!data.join("gone").exists());
    assert_eq!(of(&volumes[1].source), (0o755, 0, 0));
    assert!(
        rootfs.join("new/deep").is_dir(),
        "there is a place to mount it on"
    );
}

#[test]
fn a_volume_is_one_container_s_and_goes_with_it() {
    let scratch = Scratch::new();
    let images = open(scratch.path());
    let image = load(&images, &["/data"], &[layer(&[Entry::File("data/one", "1")])]);
    let dir = scratch.path().join("c");
    let (rootfs, volumes) = mount(&images, &image, &dir, &[]).expect("made");
    let data = &volumes[0].source;
    fs::write(data.join("one"), "changed").expect("write");
    mount(&images, &image, &dir, &[]).expect("again");
    assert_eq!(fs::read_to_string(data.join("one")).expect("read"), "changed");
    let (_, other) = mount(&images, &image, &scratch.path().join("c2"), &[]).expect("made");
    assert_eq!(
        fs::read_to_string(other[0].source.join("one")).expect("read"),
        "1"
    );
    nix::mount::umount2(&rootfs, nix::mount::MntFlags::MNT_DETACH).expect("as a reboot does");
    mount(&images, &image, &dir, &[]).expect("again");
    assert_eq!(fs::read_to_string(data.join("one")).expect("read"), "1");
    fs::remove_dir_all(data).expect("remove");
    xattr::set(rootfs.join("data/one"), "user.note", b"hello").expect("xattr");
    mount(&images, &image, &dir, &[]).expect("again");
    let note = xattr::get(data.join("one"), "user.note").expect("get");
    assert_eq!(note, Some(b"hello".to_vec()));
    images.remove_rootfs(&dir).expect("remove");
    assert_eq!(fs::read_dir(&dir).expect("list").count(), 0);
}

#[test]
fn what_a_container_mounts_itself_is_no_volume_of_the_image() {
    let scratch = Scratch::new();
    let images = open(scratch.path());
    let layers = [layer(&[
        Entry::Dir("data"),
        Entry::File("data/a", "a"),
        Entry::File("file", "f"),
    ])];
    let declared = ["/data", "/data/", "data/./inner", "/x/../y"];
    let image = load(&images, &declared, &layers);
    for (mounted, want) in [
        (&[][..], &["/data", "/data/inner", "/y"][..]),
        (&["/data/"], &["/data/inner", "/y"]),
        (&["/data/inner", "/y/", "/z"], &["/data"]),
        (&["/data/inner/deep", "/"], &["/data", "/data/inner", "/y"]),
        (&["/data", "/data/inner", "//y"], &[]),
    ] {
        let volumes = image
            .defined_volumes(scratch.path(), mounted.iter().map(Path::new))
            .expect("volumes");
        assert_eq!(destinations(&volumes), want, "{mounted:?}");
    }
    let dir = scratch.path().join("c");
    let none = load(&images, &[], &layers);
    assert_eq!(mount(&images, &none, &dir, &[]).expect("made").1, []);
    assert!(!dir.join("volumes").exists());
    for (path, want) in [
        ("/", "the volume /,"),
        ("/proc/sys", "/proc/sys"),
        ("/file", "Not a directory"),
    ] {
        let bad = load(&images, &[path], &layers);
        let error = mount(&images, &bad, &scratch.path().join("bad"), &[])
            .expect_err(path)
            .to_string();
        assert!(error.contains(want), "{path}: {error}");
    }
}

#[test]
fn links_lead_nowhere_but_into_the_image() {
    use Entry::*;
    let outside = tempfile::tempdir().expect("a folder");
    fs::write(outside.path().join("secret"), "host").expect("write");
    let target = outside.path().to_str().expect("utf-8");
    let up = format!("{}{}", "../".repeat(20), target.trim_start_matches('/'));
    let scratch = Scratch::new();
    let images = open(scratch.path());
    let layers = [layer(&[
        Dir("real"),
        File("real/a", "a"),
        Symlink("real/abs", target),
        Symlink("real/up", &up),
        Symlink("inside", "/real"),
        Symlink("abs", target),
        Symlink("up", &up),
    ])];
    let image = load(&images, &["/inside", "/abs", "/up"], &layers);
    let (_, volumes) = mount(&images, &image, &scratch.path().join("c"), &[]).expect("made");
    for volume in &volumes {
        let names = fs::read_dir(&volume.source)
            .expect("list")
            .map(|entry| entry.expect("entry").file_name());
        let mut names: Vec<String> = names.map(|name| name.into_string().expect("utf-8")).collect();
        names.sort();
        match volume.destination.to_str() {
            Some("/inside") => assert_eq!(names, ["a", "abs", "up"], "the links themselves"),
            other => assert!(names.is_empty(), "{other:?}: {names:?}"),
        }
        for link in ["abs", "up"].map(|name| volume.source.join(name)) {
            assert!(!link.exists() || fs::symlink_metadata(&link).expect("stat").is_symlink());
        }
    }
    let left: Vec<_> = fs::read_dir(outside.path()).expect("list").collect();
    assert_eq!(left.len(), 1, "nothing was written there");
}
