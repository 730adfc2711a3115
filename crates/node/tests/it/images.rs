//! Images on a real disk with real overlay mounts: built, loaded, unpacked, mounted, pulled, removed.

use node::images::{Build, Error, Image, Images, Limits, RegistryConfig, Source};
use std::fs;
use std::io::Write;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// A folder of its own that takes all mounts below it along when it goes.
pub struct Scratch(pub tempfile::TempDir);

impl Scratch {
    pub fn new() -> Scratch {
        Scratch(tempfile::tempdir().expect("a temporary folder"))
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    pub fn mounts(&self) -> Vec<PathBuf> {
        let table = fs::read_to_string("/proc/self/mountinfo").expect("mounts");
        let targets = table
            .lines()
            .filter_map(|line| line.split(' ').nth(4))
            .map(PathBuf::from);
        targets.filter(|target| target.starts_with(self.path())).collect()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        for target in self.mounts().into_iter().rev() {
            if let Err(error) = nix::mount::umount2(&target, nix::mount::MntFlags::MNT_DETACH) {
                eprintln!("cannot unmount {}: {error}", target.display());
            }
        }
    }
}

pub fn open(data: &Path) -> Images {
    Images::open(data, RegistryConfig::default()).expect("open the store")
}

/// A static program for this machine that exits with 42 (on x86-64; elsewhere it only looks right).
fn program() -> Vec<u8> {
    let code = [0xbf, 42, 0, 0, 0, 0xb8, 60, 0, 0, 0, 0x0f, 0x05];
    let machine: u16 = if cfg!(target_arch = "aarch64") { 183 } else { 62 };
    let mut elf = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    elf.extend(2u16.to_le_bytes());
    elf.extend(machine.to_le_bytes());
    elf.extend(1u32.to_le_bytes());
    for number in [0x40_0078u64, 64, 0] {
        elf.extend(number.to_le_bytes());
    }
    elf.extend(0u32.to_le_bytes());
    for number in [64u16, 56, 1, 0, 0, 0] {
        elf.extend(number.to_le_bytes());
    }
    let size = 120 + code.len() as u64;
    elf.extend(1u32.to_le_bytes());
    elf.extend(5u32.to_le_bytes());
    for number in [0u64, 0x40_0000, 0x40_0000, size, size, 0x1000] {
        elf.extend(number.to_le_bytes());
    }
    elf.extend(code);
    elf
}

fn build(images: &Images, dir: &Path, name: &str) -> Image {
    let path = dir.join("visits");
    fs::write(&path, program()).expect("write the program");
    let mut order = Build::new(name, Source::Binary(path));
    order.ports = vec!["8080".into()];
    order.links = vec![("/bin/tail".into(), "/visits".into())];
    images.build(&order).expect("build")
}

#[test]
fn a_binary_becomes_an_image_that_runs() {
    let scratch = Scratch::new();
    let images = open(scratch.path());
    let image = build(&images, scratch.path(), "visits:1");
    assert_eq!(image.name, "docker.io/library/visits:1");
    assert_eq!(image.run.entrypoint, ["/visits"]);
    assert_eq!(image.run.exposed_ports, ["8080/tcp"]);
    for name in [
        "visits:1",
        "docker.io/library/visits:1",
        &image.id.to_string(),
        &image.repo_digest,
    ] {
        assert_eq!(
            images.get(name).expect("lookup").map(|i| i.id),
            Some(image.id.clone()),
            "{name}"
        );
    }
    assert!(images.get("visits:2").expect("lookup").is_none());

    let container = scratch.path().join("pods/u/c");
    let root = images.rootfs(&image, &container).expect("mount");
    assert_eq!(
        images.rootfs(&image, &container).expect("again"),
        root,
        "idempotent"
    );
    assert_eq!(scratch.mounts(), [root.clone()]);
    if cfg!(target_arch = "x86_64") {
        let status = std::process::Command::new("chroot")
            .arg(&root)
            .arg("/bin/tail")
            .status()
            .expect("chroot");
        assert_eq!(status.code(), Some(42));
    }
    assert_eq!(
        fs::metadata(root.join("tmp")).expect("tmp").permissions().mode() & 0o7777,
        0o1777
    );

    // Writes stay over a remount, as after a reboot.
    fs::write(root.join("written"), "x").expect("write");
    images.unmount_rootfs(&container).expect("unmount");
    assert!(scratch.mounts().is_empty());
    images.rootfs(&image, &container).expect("mount again");
    assert_eq!(fs::read_to_string(root.join("written")).expect("read"), "x");

    images.remove_rootfs(&container).expect("remove");
    images.remove_rootfs(&container).expect("idempotent");
    assert!(scratch.mounts().is_empty());
    assert_eq!(fs::read_dir(&container).expect("list").count(), 0);
}

#[test]
fn the_same_binary_gives_the_same_digest() {
    let (one, two) = (Scratch::new(), Scratch::new());
    let first = build(&open(one.path()), one.path(), "a:1");
    let second = build(&open(two.path()), two.path(), "b:2");
    assert_eq!(first.digest, second.digest);
}

#[test]
fn bad_builds_say_what_to_do_and_leave_nothing() {
    let scratch = Scratch::new();
    let images = open(scratch.path());
    let try_build = |source: Source, change: &dyn Fn(&mut Build)| {
        let mut order = Build::new("x:1", source);
        change(&mut order);
        images.build(&order).expect_err("refused").to_string()
    };
    let own = std::env::current_exe().expect("this program");
    let text = try_build(Source::Binary(own), &|_| {});
    assert!(
        text.contains("dynamically linked") && text.contains("--from-dir"),
        "{text}"
    );
    let text = try_build(Source::Binary("/no/such".into()), &|_| {});
    assert!(text.contains("/no/such"), "{text}");
    let text = try_build(Source::Folder("/etc/passwd".into()), &|_| {});
    assert!(text.contains("not a folder"), "{text}");
    let folder = || Source::Folder(scratch.path().join("layers"));
    assert!(try_build(folder(), &|o| o.env = vec!["X".into()]).contains("NAME=value"));
    assert!(try_build(folder(), &|o| o.ports = vec!["0".into()]).contains("65535"));
    assert!(try_build(folder(), &|o| o.working_dir = Some("x".into())).contains("absolute"));
    assert!(try_build(folder(), &|o| o.name = "X".into()).contains("invalid reference format"));
    assert_eq!(images.list().expect("list"), []);
    assert_eq!(blobs(scratch.path()), 0);
    assert_eq!(
        fs::read_dir(scratch.path().join("images/ingest"))
            .expect("list")
            .count(),
        0
    );
}

fn blobs(data: &Path) -> usize {
    fs::read_dir(data.join("images/blobs/sha256"))
        .expect("list")
        .count()
}

#[test]
fn a_folder_keeps_modes_owners_links_and_attributes() {
    let scratch = Scratch::new();
    let images = open(scratch.path());
    let dir = scratch.path().join("tree");
    fs::create_dir_all(dir.join("usr/bin")).expect("mkdir");
    fs::write(dir.join("usr/bin/tool"), "tool").expect("write");
    fs::set_permissions(dir.join("usr/bin/tool"), fs::Permissions::from_mode(0o4755)).expect("chmod");
    std::os::unix::fs::chown(dir.join("usr/bin"), Some(7), Some(8)).expect("chown");
    std::os::unix::fs::symlink("usr/bin", dir.join("bin")).expect("symlink");
    fs::hard_link(dir.join("usr/bin/tool"), dir.join("usr/bin/tool2")).expect("link");
    nix::unistd::mkfifo(&dir.join("pipe"), nix::sys::stat::Mode::from_bits_truncate(0o644)).expect("fifo");
    let long = dir.join("n".repeat(150)).join("m".repeat(150));
    fs::create_dir_all(&long).expect("mkdir");
    fs::write(long.join("deep"), vec![1; 100_000]).expect("write");
    let capability = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    xattr::set(dir.join("usr/bin/tool"), "user.note", b"hello").expect("xattr");
    fs::write(dir.join("ping"), "p").expect("write");
    xattr::set(dir.join("ping"), "security.capability", &capability).expect("capability");

    let order = Build::new("tree:1", Source::Folder(dir));
    let image = images.build(&order).expect("build");
    assert_eq!(
        images.build(&order).expect("again").digest,
        image.digest,
        "reproducible"
    );
    let root = images.rootfs(&image, &scratch.path().join("c")).expect("mount");
    let tool = fs::metadata(root.join("bin/tool")).expect("through the link");
    assert_eq!((tool.mode() & 0o7777, tool.nlink()), (0o4755, 2));
    let bin = fs::metadata(root.join("usr/bin")).expect("stat");
    assert_eq!((bin.uid(), bin.gid()), (7, 8));
    assert_eq!(
        xattr::get(root.join("usr/bin/tool2"), "user.note").expect("get"),
        Some(b"hello".to_vec())
    );
    assert_eq!(
        xattr::get(root.join("ping"), "security.capability").expect("get"),
        Some(capability.to_vec())
    );
    assert!(
        fs::symlink_metadata(root.join("pipe"))
            .expect("stat")
            .file_type()
            .is_fifo()
    );
    let deep = root.join("n".repeat(150)).join("m".repeat(150)).join("deep");
    assert_eq!(fs::metadata(deep).expect("stat").len(), 100_000);
}

#[test]
fn what_a_container_stands_on_outlives_the_image() {
    let scratch = Scratch::new();
    let images = open(scratch.path());
    let image = build(&images, scratch.path(), "visits:1");
    let container = scratch.path().join("c");
    let root = images.rootfs(&image, &container).expect("mount");
    images.tag("visits:1", "visits:2").expect("tag");
    assert_eq!(
        images.list().expect("list")[0].names[..2],
        ["docker.io/library/visits:1", "docker.io/library/visits:2"]
    );
    assert_eq!(images.remove("visits:1").expect("remove").freed_bytes, 0);
    assert_eq!(
        images.remove("visits:2").expect("remove").names,
        ["docker.io/library/visits:2"]
    );
    assert!(images.get("visits:2").expect("lookup").is_none());
    let error = images.remove("visits:2").expect_err("gone");
    assert!(matches!(error, Error::NotPresent { .. }) && error.to_string().contains("isopod image ls"));
    assert!(
        fs::read(root.join("visits")).is_ok(),
        "the container still has its files"
    );
    images.unmount_rootfs(&container).expect("unmount");
    images
        .rootfs(&image, &container)
        .expect("and can be mounted again");
    images.remove_rootfs(&container).expect("remove");
    assert!(images.collect().expect("collect") > 0);
    assert_eq!(blobs(scratch.path()), 0);
    assert_eq!(
        fs::read_dir(scratch.path().join("layers")).expect("list").count(),
        0
    );
}

#[test]
fn what_a_crash_left_is_cleaned_and_what_was_complete_is_kept() {
    let scratch = Scratch::new();
    let image = build(&open(scratch.path()), scratch.path(), "visits:1");
    let data = scratch.path();
    let leftovers = [
        data.join("images/ingest/1-0.tmp"),
        data.join("layers/tmp-1-0"),
        data.join("images/index.json.new"),
    ];
    fs::write(&leftovers[0], "half a blob").expect("write");
    fs::create_dir_all(leftovers[1].join("fs/etc")).expect("mkdir");
    fs::write(&leftovers[2], "{half").expect("write");
    let orphan = data.join("images/blobs/sha256").join("0".repeat(64));
    fs::write(&orphan, "a blob that no index names").expect("write");
    let images = open(data);
    assert!(!leftovers[0].exists() && !leftovers[1].exists() && !orphan.exists());
    assert_eq!(images.require("visits:1").expect("kept").digest, image.digest);
    build(&images, data, "visits:2");
    assert_eq!(images.list().expect("list").len(), 1);

    // A layer of an earlier boot that was never synced may have holes: it is unpacked again.
    images.unpack(&image).expect("unpack");
    let layer = fs::read_dir(data.join("layers"))
        .expect("list")
        .next()
        .expect("one")
        .expect("entry")
        .path();
    for _ in 0..500 {
        // The disk is synced beside us; its mark must not come after ours.
        if fs::read_to_string(layer.join("complete"))
            .expect("read")
            .contains("true")
        {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    fs::write(
        layer.join("complete"),
        r#"{"boot":"an earlier one","synced":false}"#,
    )
    .expect("write");
    fs::write(layer.join("fs/visits"), "").expect("a hole");
    let images = open(data);
    let root = images.rootfs(&image, &data.join("c")).expect("mount");
    assert_eq!(fs::read(root.join("visits")).expect("read"), program());
}

/// A layer as (path, what): `Some(text)` a file, `None` a deletion mark by its name.
enum Entry<'a> {
    File(&'a str, &'a str),
    Dir(&'a str),
    Symlink(&'a str, &'a str),
    Hard(&'a str, &'a str),
}

fn layer(entries: &[Entry<'_>]) -> Vec<u8> {
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
    let diff_ids: Vec<String> = layers.iter().map(|layer| sha256(layer)).collect();
    let config = serde_json::json!({"architecture": "amd64", "os": "linux",
        "config": {"Cmd": ["/x"], "Env": null}, "rootfs": {"type": "layers", "diff_ids": diff_ids}});
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
    images.rootfs(&image, &scratch.path().join("c"))
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
    images.collect().expect("collect");
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
        assert!(error.contains(want), "want {want}: {error}");
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
