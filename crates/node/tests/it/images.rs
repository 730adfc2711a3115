//! Images on a real disk with real overlay mounts: built, loaded, unpacked, mounted, pulled, removed.

use node::images::{Build, Error, Image, Images, MountPoints, RegistryConfig, Source};
use std::fs;
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

pub fn build(images: &Images, dir: &Path, name: &str) -> Image {
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
    let root = images
        .rootfs(&image, &container, &MountPoints::default())
        .expect("mount");
    assert_eq!(
        images
            .rootfs(&image, &container, &MountPoints::default())
            .expect("again"),
        root,
        "idempotent"
    );
    assert_eq!(scratch.mounts(), std::slice::from_ref(&root));
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

    // A reboot takes the mount away; what is mounted then is as the image has it.
    fs::write(root.join("written"), "x").expect("write");
    nix::mount::umount2(&root, nix::mount::MntFlags::MNT_DETACH).expect("unmount");
    assert!(scratch.mounts().is_empty());
    images
        .rootfs(&image, &container, &MountPoints::default())
        .expect("mount again");
    assert!(root.join("visits").exists() && !root.join("written").exists());

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

pub fn blobs(data: &Path) -> usize {
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
    let root = images
        .rootfs(&image, &scratch.path().join("c"), &MountPoints::default())
        .expect("mount");
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

/// True once neither blob nor layer is left. A child that another test has just forked holds our lock until it executes
/// its program, and nothing is collected then.
fn collected(images: &Images, path: &Path) -> bool {
    (0..200).any(|_| {
        images.collect().expect("collect");
        let layers = fs::read_dir(path.join("layers")).expect("list").count();
        let done = blobs(path) == 0 && layers == 0;
        if !done {
            // pause: that child says nothing to us
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        done
    })
}

#[test]
fn mount_points_come_from_a_layer_that_containers_share() {
    let scratch = Scratch::new();
    let images = open(scratch.path());
    let image = build(&images, scratch.path(), "visits:1");
    let (folder, file) = (scratch.path().to_owned(), scratch.path().join("hosts"));
    fs::write(&file, "").expect("write");
    let mounts = [
        (&folder, "/data/deep"),
        (&file, "/etc/hosts"),
        (&file, "/dev/termination-log"),
        (&folder, "/visits"),
        (&folder, "/../outside"),
        (&folder, "relative"),
    ];
    let points = MountPoints::new(mounts.iter().map(|(from, to)| (from.as_path(), Path::new(*to))));
    for name in ["one", "two"] {
        let container = scratch.path().join(name);
        let root = images.rootfs(&image, &container, &points).expect("mount");
        assert!(root.join("data/deep").is_dir() && root.join("proc").is_dir());
        assert!(root.join("etc/hosts").is_file());
        assert!(root.join("visits").is_file(), "the image's own file stays");
        assert_eq!(fs::read_dir(root.join("dev")).expect("list").count(), 0);
        assert_eq!(fs::read_dir(container.join("upper")).expect("list").count(), 0);
    }
    let layers = || fs::read_dir(scratch.path().join("layers")).expect("list").count();
    assert_eq!(layers(), 2, "the image's one and the shared one");
    images.remove("visits:1").expect("remove");
    for name in ["one", "two"] {
        images.remove_rootfs(&scratch.path().join(name)).expect("remove");
    }
    assert!(collected(&images, scratch.path()));
}

#[test]
fn what_a_container_stands_on_outlives_the_image() {
    let scratch = Scratch::new();
    let images = open(scratch.path());
    let image = build(&images, scratch.path(), "visits:1");
    let container = scratch.path().join("c");
    let root = images
        .rootfs(&image, &container, &MountPoints::default())
        .expect("mount");
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
    nix::mount::umount2(&root, nix::mount::MntFlags::MNT_DETACH).expect("unmount");
    images
        .rootfs(&image, &container, &MountPoints::default())
        .expect("and can be mounted again");
    images.remove_rootfs(&container).expect("remove");
    assert!(collected(&images, scratch.path()));
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
        std::thread::sleep(std::time::Duration::from_millis(20)); // pause: the mark is a file, nobody tells
    }
    fs::write(
        layer.join("complete"),
        r#"{"boot":"an earlier one","synced":false}"#,
    )
    .expect("write");
    fs::write(layer.join("fs/visits"), "").expect("a hole");
    let images = open(data);
    let root = images
        .rootfs(&image, &data.join("c"), &MountPoints::default())
        .expect("mount");
    assert_eq!(fs::read(root.join("visits")).expect("read"), program());
}

#[test]
fn a_damaged_image_can_be_removed_and_hinders_no_other() {
    let scratch = Scratch::new();
    let images = open(scratch.path());
    let good = build(&images, scratch.path(), "good:1");
    let mut order = Build::new("bad:1", Source::Binary(scratch.path().join("visits")));
    order.cmd = vec!["other".into()];
    let bad = images.build(&order).expect("build");
    fs::write(
        scratch.path().join("images/blobs/sha256").join(bad.id.hex()),
        "{}",
    )
    .expect("damage");
    let images = open(scratch.path());
    let error = images.get("bad:1").expect_err("damaged").to_string();
    assert!(error.contains("damaged"), "{error}");
    let names: Vec<String> = images
        .list()
        .expect("list")
        .into_iter()
        .flat_map(|line| line.names)
        .collect();
    assert_eq!(names[0], "docker.io/library/good:1");
    let mut order = Build::new("good:2", Source::Binary(scratch.path().join("visits")));
    images.build(&order).expect("build");
    images.remove("bad:1").expect("remove");
    order.cmd = vec!["changed".into()];
    images.build(&order).expect("build over it");
    images.remove("good:2").expect("remove");
    assert_eq!(blobs(scratch.path()), 3, "only the good image's blobs are left");
    images
        .rootfs(&good, &scratch.path().join("c"), &MountPoints::default())
        .expect("mount");
}

#[test]
fn building_over_a_name_frees_what_it_stood_for() {
    let scratch = Scratch::new();
    let images = open(scratch.path());
    build(&images, scratch.path(), "app:1");
    let mut order = Build::new("app:1", Source::Binary(scratch.path().join("visits")));
    for number in 0..3 {
        order.cmd = vec![number.to_string()];
        images.build(&order).expect("build");
        assert_eq!(
            blobs(scratch.path()),
            3,
            "layer, config and manifest of the newest only"
        );
    }
}
