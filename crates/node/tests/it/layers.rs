//! Layers and archives made by hand: deletions, links, attacks, damage.

use crate::images::{Scratch, blobs, build, open};
use node::images::{Error, Images, Limits, MountPoints, RegistryConfig};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

/// A layer as (path, what): `Some(text)` a file, `None` a deletion mark by its name.
pub enum Entry<'a> {
    File(&'a str, &'a str),
    Dir(&'a str),
    Symlink(&'a str, &'a str),
    Hard(&'a str, &'a str),
}

pub fn layer(entries: &[Entry<'_>]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for entry in entries {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o755);
        let (path, kind, link, content) = match entry {
            Entry::File(path, content) => (path, tar::EntryType::Regular, None, *content),
            Entry::Dir(path) => (path, tar::EntryType::Directory, None, ""),
            Entry::Symlink(path, to) => (path, tar::EntryType::Symlink, Some(*to), ""),
            Entry::Hard(path, to) => (path, tar::EntryType::Link, Some(*to), ""),
        };
        header.set_entry_type(kind);
        header.set_size(content.len() as u64);
        // Written raw: the writer itself would refuse unsafe paths.
        header.as_gnu_mut().expect("gnu").name[..path.len()].copy_from_slice(path.as_bytes());
        if let Some(link) = link {
            header.as_gnu_mut().expect("gnu").linkname[..link.len()].copy_from_slice(link.as_bytes());
        }
        header.set_cksum();
        tar.append(&header, content.as_bytes()).expect("append");
    }
    tar.into_inner().expect("finish")
}

fn sha256(bytes: &[u8]) -> String {
    node::images::Digest::of(bytes).to_string()
}

/// A docker-archive of the layers; each is compressed another way.
fn docker_archive(name: &str, layers: &[Vec<u8>]) -> Vec<u8> {
    docker_archive_with(serde_json::json!({"Cmd": ["/x"], "Env": null}), name, layers)
}

/// … with the config's part that says how the image is run.
pub fn docker_archive_with(run: serde_json::Value, name: &str, layers: &[Vec<u8>]) -> Vec<u8> {
    let diff_ids: Vec<String> = layers.iter().map(|layer| sha256(layer)).collect();
    let config = serde_json::json!({"architecture": "amd64", "os": "linux",
        "config": run, "rootfs": {"type": "layers", "diff_ids": diff_ids}});
    let names: Vec<String> = (0..layers.len())
        .map(|number| format!("{number}/layer.tar"))
        .collect();
    let manifest = serde_json::json!([{"Config": "c.json", "RepoTags": [name], "Layers": names}]);
    let mut files = vec![("c.json".to_owned(), config.to_string().into_bytes())];
    for (number, layer) in layers.iter().enumerate() {
        let packed = match number % 3 {
            0 => layer.clone(),
            1 => gzip_in_members(layer),
            _ => zstd::encode_all(layer.as_slice(), 1).expect("zstd"),
        };
        files.push((names[number].clone(), packed));
    }
    files.push(("manifest.json".to_owned(), manifest.to_string().into_bytes()));
    tar_of(&files)
}

fn tar_of(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, name, bytes.as_slice())
            .expect("append");
    }
    tar.into_inner().expect("finish")
}

/// Two gzip members, as some builders write them.
fn gzip_in_members(bytes: &[u8]) -> Vec<u8> {
    let half = bytes.len() / 2;
    let mut all = Vec::new();
    for part in [&bytes[..half], &bytes[half..]] {
        let mut encoder = flate2::write::GzEncoder::new(&mut all, flate2::Compression::fast());
        encoder.write_all(part).expect("gzip");
        encoder.finish().expect("gzip");
    }
    all
}

fn load_and_mount(scratch: &Scratch, layers: &[Vec<u8>]) -> Result<PathBuf, Error> {
    let images = open(scratch.path());
    images
        .load(docker_archive("t:1", layers).as_slice(), "test", None)
        .expect("load");
    let image = images.require("t:1").expect("loaded");
    images.rootfs(&image, &scratch.path().join("c"), &MountPoints::default())
}

#[test]
fn layers_stack_with_deletions_links_and_folders_of_their_parents() {
    use Entry::*;
    let layers = [
        layer(&[
            Dir("./"),
            Dir("usr/"),
            Dir("usr/lib/"),
            Symlink("lib", "usr/lib"),
            File("usr/lib/a", "a"),
            Dir("gone"),
            File("gone/x", "x"),
            File("single", "s"),
            Dir("opaque"),
            File("opaque/old", "o"),
            File("becomes-dir", "f"),
            Dir("becomes-file"),
            File("becomes-file/x", "x"),
            Symlink("abs", "/usr/lib"),
        ]),
        // Writes through the parent's links, as images do that were not made as a diff.
        layer(&[
            File("lib/b", "b"),
            File("abs/c", "c"),
            Hard("lib/a2", "usr/lib/a"),
            File(".wh.gone", ""),
            File(".wh.single", ""),
            File("opaque/new", "n"),
            File("opaque/.wh..wh..opq", ""),
        ]),
        layer(&[
            Dir("becomes-dir"),
            File("becomes-dir/y", "y"),
            File("becomes-file", "file"),
            File("gone", "a file now"),
            File(".wh..wh.plnk", ""),
        ]),
    ];
    let scratch = Scratch::new();
    let root = load_and_mount(&scratch, &layers).expect("mount");
    let read = |path: &str| fs::read_to_string(root.join(path)).unwrap_or_else(|e| e.kind().to_string());
    for (path, want) in [
        ("usr/lib/a", "a"),
        ("usr/lib/b", "b"),
        ("lib/b", "b"),
        ("usr/lib/c", "c"),
        ("lib/a2", "a"),
        ("single", "entity not found"),
        ("opaque/old", "entity not found"),
        ("opaque/new", "n"),
        ("becomes-dir/y", "y"),
        ("becomes-file", "file"),
        ("gone", "a file now"),
    ] {
        assert_eq!(read(path), want, "{path}");
    }
    assert_eq!(
        fs::read_link(root.join("lib")).expect("still a link"),
        Path::new("usr/lib")
    );
    assert_eq!(scratch.mounts().len(), 1, "no mount of the unpacking is left");
}

#[test]
fn a_layer_cannot_reach_out_of_its_folder() {
    use Entry::*;
    let outside = tempfile::tempdir().expect("a folder");
    let target = outside.path().to_str().expect("utf-8");
    let climb = format!("{}{target}/evil", "../".repeat(20));
    for (what, entries) in [
        ("..", vec![File("../evil", "x")]),
        ("inner ..", vec![File("a/../../evil", "x")]),
        ("hard link out", vec![Hard("l", "../../../../etc/passwd")]),
        ("long climb", vec![File(&climb, "x")]),
        ("deletion of ..", vec![File("a/.wh...", "x")]),
        ("overlay's own mark", vec![Hard("l", "/no/such")]),
    ] {
        let scratch = Scratch::new();
        let error = load_and_mount(&scratch, &[layer(&entries)])
            .expect_err(what)
            .to_string();
        assert!(error.contains("layer sha256:"), "{what}: {error}");
        assert!(scratch.mounts().is_empty());
        assert_eq!(
            fs::read_dir(scratch.path().join("layers")).expect("list").count(),
            0,
            "{what}: nothing is left"
        );
    }
    // Links that lead out are kept as they are, but are followed inside of the image only.
    let scratch = Scratch::new();
    let up = format!("{}{}", "../".repeat(20), target.trim_start_matches('/'));
    let root = load_and_mount(
        &scratch,
        &[layer(&[
            Symlink("abs", target),
            File("abs/evil", "x"),
            Symlink("up", &up),
            File("up/evil2", "x"),
            Hard("h", "abs/evil"),
        ])],
    )
    .expect("mount");
    assert_eq!(
        fs::read_dir(outside.path()).expect("list").count(),
        0,
        "nothing was written outside"
    );
    let inside = root.join(target.trim_start_matches('/'));
    assert!(inside.join("evil").exists() && inside.join("evil2").exists() && root.join("h").exists());
}

#[test]
fn layers_that_grow_without_end_are_refused() {
    let zeros = "\0".repeat(3 << 20);
    let scratch = Scratch::new();
    let limits = Limits {
        layer_bytes: 1 << 20,
        layer_entries: 3,
    };
    let images = Images::open_with_limits(scratch.path(), RegistryConfig::default(), limits).expect("open");
    let many: Vec<String> = (0..4).map(|number| format!("f{number}")).collect();
    let many: Vec<Entry<'_>> = many.iter().map(|name| Entry::File(name, "")).collect();
    for (layer, want) in [
        (
            layer(&[Entry::File("zeros", &zeros)]),
            "more bytes than the limit",
        ),
        (layer(&many), "limit of 3 entries"),
    ] {
        images
            .load(docker_archive("t:1", &[layer]).as_slice(), "test", None)
            .expect("load");
        let image = images.require("t:1").expect("loaded");
        let error = images.unpack(&image).expect_err("refused").to_string();
        assert!(error.contains(want), "{error}");
    }
    assert_eq!(
        fs::read_dir(scratch.path().join("layers")).expect("list").count(),
        0
    );
}

#[test]
fn a_hundred_layers_mount() {
    let layers: Vec<Vec<u8>> = (0..100)
        .map(|n| layer(&[Entry::File(&format!("f{n}"), "x")]))
        .collect();
    let scratch = Scratch::new();
    let root = load_and_mount(&scratch, &layers).expect("mount");
    assert_eq!(fs::read_dir(root).expect("list").count(), 100);
}

#[test]
fn saved_archives_load_again_whole_or_not_at_all() {
    let scratch = Scratch::new();
    let images = open(scratch.path());
    let image = build(&images, scratch.path(), "visits:1");
    let mut archive = Vec::new();
    images.save(&["visits:1"], &mut archive).expect("save");
    for packed in [
        archive.clone(),
        gzip_in_members(&archive),
        zstd::encode_all(archive.as_slice(), 1).expect("zstd"),
    ] {
        let other = Scratch::new();
        let loaded = open(other.path())
            .load(packed.as_slice(), "standard input", None)
            .expect("load");
        assert_eq!(loaded[0].names, ["docker.io/library/visits:1"]);
        assert_eq!(
            open(other.path()).require("visits:1").expect("there").digest,
            image.digest
        );
    }
    // Cut anywhere before the end of the last file: one clear error, nothing left.
    let other = Scratch::new();
    let images = open(other.path());
    let gz = gzip_in_members(&archive);
    let cuts = (0..archive.len() - 1100).step_by(777).map(|cut| &archive[..cut]);
    for cut in cuts.chain((0..gz.len() - 8).step_by(301).map(|cut| &gz[..cut])) {
        let error = images
            .load(cut, "visits.tar", None)
            .expect_err("refused")
            .to_string();
        assert!(
            error.starts_with("cannot load images from visits.tar: "),
            "{error}"
        );
        assert_eq!(images.list().expect("list"), []);
    }
    assert_eq!(
        fs::read_dir(other.path().join("images/ingest"))
            .expect("list")
            .count(),
        0
    );
    assert_eq!(blobs(other.path()), 0);
}

#[test]
fn what_is_no_image_archive_is_told_so() {
    let scratch = Scratch::new();
    let images = open(scratch.path());
    let plain_tar = tar_of(&[("hello.txt".into(), b"hello".to_vec())]);
    let layer = layer(&[Entry::File("x", "x")]);
    let mut damaged = docker_archive("t:1", std::slice::from_ref(&layer));
    let at = damaged.windows(9).position(|w| w == b"layer.tar").expect("there") + 700;
    damaged[at] ^= 1;
    for (bytes, want) in [
        (Vec::new(), "it is empty"),
        (b"hello".to_vec(), "not a tar archive"),
        (vec![7; 5000], "not a tar archive"),
        (vec![0xff; 5000], "not a tar archive"),
        (plain_tar, "neither index.json nor manifest.json"),
        (
            tar_of(&[("manifest.json".into(), b"{".to_vec())]),
            "manifest.json cannot be understood",
        ),
        (
            tar_of(&[("index.json".into(), b"{\"manifests\":[]}".to_vec())]),
            "none of its images is for this machine",
        ),
        (
            docker_archive("Bad Name", std::slice::from_ref(&layer)),
            "invalid reference format",
        ),
        (damaged, "is not the layer that c.json names"),
    ] {
        let error = images
            .load(bytes.as_slice(), "file", None)
            .expect_err(want)
            .to_string();
        let plain = !error.contains(|c: char| c.is_control() || c == char::REPLACEMENT_CHARACTER);
        assert!(error.contains(want) && plain, "want {want}: {error:?}");
    }
    let error = images
        .load_file(Path::new("/no/such.tar"), None)
        .expect_err("missing")
        .to_string();
    assert!(
        error.contains("/no/such.tar") && error.contains("No such file"),
        "{error}"
    );
    assert_eq!(images.list().expect("list"), []);
}
