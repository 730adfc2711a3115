//! A pod's namespaces: made by a thread that ends, kept by bind mounts in the pod's directory. No pause process.
#![allow(unsafe_code)] // System calls that no crate here wraps.

use std::fs;
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};

use super::spec::PodSandboxSpec;

const DEFAULT_SHM_BYTES: u64 = 64 << 20;
/// The file system type of a mounted namespace (linux/magic.h).
const NSFS_MAGIC: nix::sys::statfs::FsType = nix::sys::statfs::FsType(0x6e73_6673);

/// Makes what is missing of the sandbox below `dir`. Blocks for about a millisecond; never call it on a thread
/// that does anything else, the namespaces stay with it.
fn make(dir: &Path, spec: &PodSandboxSpec, node_netns: &Path) -> io::Result<()> {
    let ns = dir.join("ns");
    fs::create_dir_all(&ns)?;
    // In memory, as all in it is gone after a reboot; libcontainer's files of running containers lie here too.
    if !is_mount_point(&ns)? {
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
        mount(
            Some("isopod"),
            &ns,
            Some("tmpfs"),
            flags,
            Some("mode=700,size=8m"),
        )?;
    }
    let mut wanted = vec![("uts", CloneFlags::CLONE_NEWUTS)];
    if spec.host_network {
        let net = ns.join("net");
        if is_namespace(&net) && !is_same(&net, node_netns)? {
            // Of a network that was removed behind our back.
            umount2(&net, MntFlags::MNT_DETACH)?;
        }
        share(node_netns, &net)?;
    } else {
        wanted.push(("net", CloneFlags::CLONE_NEWNET));
    }
    if !spec.host_ipc {
        wanted.push(("ipc", CloneFlags::CLONE_NEWIPC));
        mount_shm(&dir.join("shm"), spec)?;
    }
    wanted.retain(|(name, _)| !is_namespace(&ns.join(name)));
    let flags = wanted
        .iter()
        .fold(CloneFlags::empty(), |flags, (_, flag)| flags | *flag);
    unshare(flags)?;
    if flags.contains(CloneFlags::CLONE_NEWUTS) {
        nix::unistd::sethostname(&spec.hostname)?;
    }
    if flags.contains(CloneFlags::CLONE_NEWNET) {
        raise_loopback()?;
        // As containerd does: ports below 1024 and ping need no capability inside a pod.
        fs::write("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0")?;
        fs::write("/proc/sys/net/ipv4/ping_group_range", "0 2147483647")?;
    }
    for (name, _) in wanted {
        share(&Path::new("/proc/thread-self/ns").join(name), &ns.join(name))?;
    }
    Ok(())
}

/// Keeps a namespace at `target` too, unless one is there already.
fn share(namespace: &Path, target: &Path) -> io::Result<()> {
    if is_namespace(target) {
        return Ok(());
    }
    fs::File::create(target)?;
    let bind = MsFlags::MS_BIND;
    mount(Some(namespace), target, None::<&str>, bind, None::<&str>).map_err(io::Error::from)
}

/// Makes the sandbox on a thread of its own.
pub async fn create(dir: &Path, spec: &PodSandboxSpec, node_netns: &Path) -> io::Result<()> {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let (dir, spec, node_netns) = (dir.to_owned(), spec.clone(), node_netns.to_owned());
    std::thread::Builder::new()
        .name("sandbox".to_owned())
        .stack_size(128 << 10)
        .spawn(move || {
            if sender.send(make(&dir, &spec, &node_netns)).is_err() {
                tracing::debug!("nobody waits for a sandbox any more");
            }
        })?;
    receiver
        .await
        .unwrap_or_else(|_| Err(io::Error::other("the thread that makes the sandbox died")))
}

/// All namespaces that the spec asks for are mounted, and what is shared is what the node has now.
pub fn is_there(dir: &Path, spec: &PodSandboxSpec, node_netns: &Path) -> bool {
    let has = |name: &str| is_namespace(&dir.join("ns").join(name));
    let own = |net: &Path| !spec.host_network || is_same(net, node_netns).is_ok_and(|same| same);
    has("net") && has("uts") && (spec.host_ipc || has("ipc")) && own(&dir.join("ns/net"))
}

fn is_same(one: &Path, other: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    let (one, other) = (fs::metadata(one)?, fs::metadata(other)?);
    Ok((one.dev(), one.ino()) == (other.dev(), other.ino()))
}

fn is_namespace(path: &Path) -> bool {
    nix::sys::statfs::statfs(path).is_ok_and(|stat| stat.filesystem_type() == NSFS_MAGIC)
}

/// The pod's own /dev/shm, which its containers share.
fn mount_shm(path: &Path, spec: &PodSandboxSpec) -> io::Result<()> {
    fs::create_dir_all(path)?;
    if is_mount_point(path)? {
        return Ok(());
    }
    let size = if spec.shm_size_bytes == 0 {
        DEFAULT_SHM_BYTES
    } else {
        spec.shm_size_bytes
    };
    let options = format!("mode=1777,size={size}");
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("shm"), path, Some("tmpfs"), flags, Some(options.as_str())).map_err(io::Error::from)
}

fn is_mount_point(path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    let parent = path.parent().unwrap_or(Path::new("/"));
    Ok(fs::metadata(path)?.dev() != fs::metadata(parent)?.dev())
}

fn raise_loopback() -> io::Result<()> {
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
    let socket = socket(
        AddressFamily::Inet,
        SockType::Datagram,
        SockFlag::SOCK_CLOEXEC,
        None,
    )?;
    // SAFETY: an all-zero ifreq is valid; the name fits with its terminating zero, and the ioctls use it only.
    let result = unsafe {
        let mut request: libc::ifreq = std::mem::zeroed();
        request.ifr_name[..2].copy_from_slice(&[b'l' as libc::c_char, b'o' as libc::c_char]);
        let got = libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFFLAGS, &mut request);
        request.ifr_ifru.ifru_flags |= libc::IFF_UP as libc::c_short;
        if got != 0 {
            got
        } else {
            libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &request)
        }
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Unmounts what `create` mounted; what is not there is fine.
pub fn unmount(dir: &Path) -> io::Result<()> {
    let ns = dir.join("ns");
    for target in [
        ns.join("net"),
        ns.join("uts"),
        ns.join("ipc"),
        ns,
        dir.join("shm"),
    ] {
        loop {
            match umount2(&target, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW) {
                Ok(()) => {} // Perhaps it was mounted twice.
                Err(nix::Error::EINVAL | nix::Error::ENOENT) => break,
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(())
}

/// Makes a TCP socket in the network namespace at `netns`: a thread goes there, makes it, and ends.
pub async fn socket_in(netns: &Path) -> io::Result<tokio::net::TcpSocket> {
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let file = fs::File::open(netns)?;
    std::thread::Builder::new()
        .name("socket".to_owned())
        .stack_size(64 << 10)
        .spawn(move || {
            let made = nix::sched::setns(&file, CloneFlags::CLONE_NEWNET).and_then(|()| {
                socket(
                    AddressFamily::Inet,
                    SockType::Stream,
                    SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
                    None,
                )
            });
            if sender.send(made.map_err(io::Error::from)).is_err() {
                tracing::debug!("nobody waits for a socket any more");
            }
        })?;
    let fd = receiver
        .await
        .unwrap_or_else(|_| Err(io::Error::other("the thread that makes the socket died")))?;
    Ok(tokio::net::TcpSocket::from_std_stream(fd.into()))
}
