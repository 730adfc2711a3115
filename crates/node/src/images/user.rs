//! Who a container's process is: `runAsUser` and friends, else the image's user, looked up in the image's own
//! /etc/passwd and /etc/group. Pure, but for `read_accounts`. Source: containerd's CRI plugin, kubelet's runAsNonRoot.

use super::beneath::open_in_root;
use super::error::{Context, Error, Result};
use super::run::RunConfig;
use k8s_openapi::api::core::v1::{Container, PodSpec};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::path::Path;

/// Account files above this are not read further.
const MAX_ACCOUNT_FILE_BYTES: u64 = 4 << 20;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessUser {
    pub uid: u32,
    pub gid: u32,
    /// Sorted, without duplicates; includes the primary group as containerd does.
    pub additional_gids: Vec<u32>,
    /// Home folder from passwd; `/` when the user is not in there.
    pub home: String,
}

/// The image's account files; empty where the image has none.
#[derive(Clone, Debug, Default)]
pub struct Accounts {
    pub passwd: String,
    pub group: String,
}

/// Reads the account files of a mounted root file system, following links within it only.
pub fn read_accounts(rootfs: &Path) -> Result<Accounts> {
    let root = File::open(rootfs).at("open", rootfs)?;
    let read = |name: &str| -> Result<String> {
        let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK; // an image may have a fifo there
        let fd = match open_in_root(root.as_fd(), Path::new(name), flags) {
            Ok(fd) => fd,
            Err(Errno::ENOENT | Errno::ENOTDIR) => return Ok(String::new()),
            Err(errno) => return Err(errno).at("open", &rootfs.join(name)),
        };
        let mut bytes = Vec::new();
        File::from(fd)
            .take(MAX_ACCOUNT_FILE_BYTES)
            .read_to_end(&mut bytes)
            .at("read", &rootfs.join(name))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    Ok(Accounts {
        passwd: read("etc/passwd")?,
        group: read("etc/group")?,
    })
}

struct Account<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

impl Accounts {
    fn users(&self) -> impl Iterator<Item = Account<'_>> {
        self.passwd.lines().filter_map(|line| {
            let fields: Vec<&str> = line.split(':').collect();
            Some(Account {
                name: fields.first()?,
                uid: fields.get(2)?.parse().ok()?,
                gid: fields.get(3)?.parse().ok()?,
                home: fields.get(5).copied().unwrap_or("/"),
            })
        })
    }

    fn groups(&self) -> impl Iterator<Item = (&str, u32, Vec<&str>)> {
        self.group.lines().filter_map(|line| {
            let fields: Vec<&str> = line.split(':').collect();
            let members = fields.get(3).map(|m| m.split(',').collect()).unwrap_or_default();
            Some((*fields.first()?, fields.get(2)?.parse().ok()?, members))
        })
    }

    /// Resolves `user`, `uid`, `user:group` and so on; empty is root.
    pub fn resolve(&self, spec: &str) -> Result<ProcessUser> {
        let (user, group) = match spec.split_once(':') {
            Some((user, group)) => (user, Some(group)),
            None => (spec, None),
        };
        let number = user.parse::<u32>().ok();
        let account = match number {
            None if user.is_empty() => self.users().find(|account| account.uid == 0),
            _ => self
                .users()
                .find(|account| account.name == user || Some(account.uid) == number),
        };
        let uid = match (&account, number) {
            (Some(account), _) => account.uid,
            (None, Some(uid)) => uid,
            (None, None) if user.is_empty() => 0,
            (None, None) => {
                let what = format!("unable to find user {user}: no matching entries in passwd file");
                return Err(Error::NoSuchUser(what));
            }
        };
        let gid = match group {
            Some(group) => self.group_id(group)?,
            None => account.as_ref().map_or(0, |account| account.gid),
        };
        let mut additional_gids = vec![gid];
        if group.is_none()
            && let Some(account) = &account
        {
            let listed = self
                .groups()
                .filter(|(_, _, members)| members.contains(&account.name));
            additional_gids.extend(listed.map(|(_, gid, _)| gid));
        }
        Ok(ProcessUser {
            uid,
            gid,
            additional_gids,
            home: account.map_or("/", |account| account.home).to_owned(),
        })
    }

    fn group_id(&self, group: &str) -> Result<u32> {
        let number = group.parse::<u32>().ok();
        let found = self
            .groups()
            .find(|(name, gid, _)| *name == group || Some(*gid) == number);
        found.map(|(_, gid, _)| gid).or(number).ok_or_else(|| {
            Error::NoSuchUser(format!(
                "unable to find group {group}: no matching entries in group file"
            ))
        })
    }
}

/// The user of a container's process. The error's text is the one of kubelet's `CreateContainerConfigError`.
pub fn process_user(
    (namespace, pod_name): (&str, &str),
    spec: &PodSpec,
    container: &Container,
    image: &RunConfig,
    accounts: &Accounts,
) -> Result<ProcessUser> {
    let pod = spec.security_context.as_ref();
    let own = container.security_context.as_ref();
    let run_as = own
        .and_then(|c| c.run_as_user)
        .or(pod.and_then(|p| p.run_as_user));
    let run_as_group = own
        .and_then(|c| c.run_as_group)
        .or(pod.and_then(|p| p.run_as_group));
    let non_root = own
        .and_then(|c| c.run_as_non_root)
        .or(pod.and_then(|p| p.run_as_non_root));
    if non_root == Some(true) {
        let whose = format!("(pod: \"{pod_name}_{namespace}\", container: {})", container.name);
        check_non_root(run_as, &image.user).map_err(|why| Error::NoSuchUser(format!("{why} {whose}")))?;
    }
    let mut user = match run_as {
        Some(uid) => accounts.resolve(&uid.to_string())?,
        None => accounts.resolve(&image.user)?,
    };
    let id = |value: i64| {
        u32::try_from(value).map_err(|_| Error::NoSuchUser(format!("group {value} is not a valid id")))
    };
    if pod.and_then(|p| p.supplemental_groups_policy.as_deref()) == Some("Strict") {
        user.additional_gids = vec![user.gid];
    }
    if let Some(group) = run_as_group {
        user.additional_gids.retain(|gid| *gid != user.gid);
        user.gid = id(group)?;
        user.additional_gids.push(user.gid);
    }
    let asked = pod
        .and_then(|p| p.supplemental_groups.clone())
        .unwrap_or_default();
    for group in asked.into_iter().chain(pod.and_then(|p| p.fs_group)) {
        user.additional_gids.push(id(group)?);
    }
    user.additional_gids.sort_unstable();
    user.additional_gids.dedup();
    Ok(user)
}

fn check_non_root(run_as: Option<i64>, image_user: &str) -> std::result::Result<(), String> {
    let image_uid = image_user.split(':').next().unwrap_or("");
    match (run_as, image_uid.parse::<i64>()) {
        (Some(0), _) => Err("container's runAsUser breaks non-root policy".to_owned()),
        (Some(_), _) => Ok(()),
        (None, Ok(0)) => Err("container has runAsNonRoot and image will run as root".to_owned()),
        (None, Ok(_)) => Ok(()),
        (None, Err(_)) if image_uid.is_empty() => {
            Err("container has runAsNonRoot and image will run as root".to_owned())
        }
        (None, Err(_)) => Err(format!(
            "container has runAsNonRoot and image has non-numeric user ({image_uid}), cannot verify user is non-root"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::{PodSecurityContext, SecurityContext};

    fn accounts() -> Accounts {
        Accounts {
            passwd: "root:x:0:0:root:/root:/bin/sh\nbroken\nweb:x:33:33:w:/var/www:/bin/sh\n".into(),
            group: "root:x:0:\nweb:x:33:\nlogs:x:40:web,other\nstaff:x:50:\n".into(),
        }
    }

    #[test]
    fn user_strings_resolve() {
        for (spec, want) in [
            ("", "0:0 [0] /root"),
            ("root", "0:0 [0] /root"),
            ("web", "33:33 [33, 40] /var/www"),
            ("33", "33:33 [33, 40] /var/www"),
            ("1000", "1000:0 [0] /"),
            ("web:staff", "33:50 [50] /var/www"),
            ("1000:2000", "1000:2000 [2000] /"),
            (
                "bob",
                "unable to find user bob: no matching entries in passwd file",
            ),
            (
                "web:bob",
                "unable to find group bob: no matching entries in group file",
            ),
        ] {
            let got = match accounts().resolve(spec) {
                Ok(u) => format!("{}:{} {:?} {}", u.uid, u.gid, u.additional_gids, u.home),
                Err(error) => error.to_string(),
            };
            assert_eq!(got, want, "{spec:?}");
        }
    }

    fn whole(pod: PodSecurityContext, own: SecurityContext, image_user: &str) -> String {
        let spec = PodSpec {
            security_context: Some(pod),
            ..PodSpec::default()
        };
        let container = Container {
            name: "c".into(),
            security_context: Some(own),
            ..Container::default()
        };
        let image = RunConfig {
            user: image_user.into(),
            ..RunConfig::default()
        };
        match process_user(("ns", "web-0"), &spec, &container, &image, &accounts()) {
            Ok(u) => format!("{}:{} {:?}", u.uid, u.gid, u.additional_gids),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn security_contexts_combine() {
        let pod = || PodSecurityContext {
            run_as_user: Some(1000),
            run_as_group: Some(3000),
            fs_group: Some(2000),
            supplemental_groups: Some(vec![5, 5]),
            ..PodSecurityContext::default()
        };
        assert_eq!(
            whole(pod(), SecurityContext::default(), "web"),
            "1000:3000 [5, 2000, 3000]"
        );
        let own = SecurityContext {
            run_as_user: Some(33),
            ..SecurityContext::default()
        };
        assert_eq!(whole(pod(), own.clone(), ""), "33:3000 [5, 40, 2000, 3000]");
        let strict = PodSecurityContext {
            supplemental_groups_policy: Some("Strict".into()),
            ..PodSecurityContext::default()
        };
        assert_eq!(whole(strict, own, ""), "33:33 [33]");
    }

    #[test]
    fn non_root_is_verified_in_kubelets_words() {
        let pod = || PodSecurityContext {
            run_as_non_root: Some(true),
            ..PodSecurityContext::default()
        };
        let none = SecurityContext::default;
        assert_eq!(
            whole(pod(), none(), ""),
            "container has runAsNonRoot and image will run as root (pod: \"web-0_ns\", container: c)"
        );
        assert_eq!(
            whole(pod(), none(), "web"),
            "container has runAsNonRoot and image has non-numeric user (web), cannot verify user is non-root (pod: \"web-0_ns\", container: c)"
        );
        assert_eq!(whole(pod(), none(), "33"), "33:33 [33, 40]");
        let zero = SecurityContext {
            run_as_user: Some(0),
            ..SecurityContext::default()
        };
        assert_eq!(
            whole(pod(), zero, "33"),
            "container's runAsUser breaks non-root policy (pod: \"web-0_ns\", container: c)"
        );
    }
}
