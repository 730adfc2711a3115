//! Capabilities: names to a bit set, the default set, and giving up all others.

use std::io;

/// A set of capabilities, bit n for capability n.
pub type CapabilitySet = u64;

/// In the kernel's order (capability.h).
const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// What a container has unless its securityContext says otherwise: containerd's default set.
const DEFAULTS: [&str; 14] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FSETID",
    "FOWNER",
    "MKNOD",
    "NET_RAW",
    "SETGID",
    "SETUID",
    "SETFCAP",
    "SETPCAP",
    "NET_BIND_SERVICE",
    "SYS_CHROOT",
    "KILL",
    "AUDIT_WRITE",
];

pub const ALL: CapabilitySet = (1 << NAMES.len()) - 1;

/// The bit of a name with or without `CAP_`, in any case. `None`: no such capability.
pub fn bit(name: &str) -> Option<CapabilitySet> {
    let upper = name.to_ascii_uppercase();
    let plain = upper.strip_prefix("CAP_").unwrap_or(&upper);
    NAMES.iter().position(|n| *n == plain).map(|n| 1 << n)
}

/// The set after `add` and `drop` on the default set. `drop: ALL` starts from nothing and keeps what `add` names;
/// `add: ALL` starts from everything and loses what `drop` names. `Err` is the name that does not exist.
pub fn resolve(add: &[String], drop: &[String], privileged: bool) -> Result<CapabilitySet, String> {
    if privileged {
        return Ok(ALL);
    }
    let is_all = |name: &String| name.eq_ignore_ascii_case("ALL") || name.eq_ignore_ascii_case("CAP_ALL");
    let bits = |names: &[String]| {
        names.iter().filter(|n| !is_all(n)).try_fold(0, |set, name| {
            bit(name).map(|b| set | b).ok_or_else(|| name.clone())
        })
    };
    let (added, dropped) = (bits(add)?, bits(drop)?);
    let defaults = DEFAULTS.iter().filter_map(|n| bit(n)).fold(0, |set, b| set | b);
    let (add_all, drop_all) = (add.iter().any(is_all), drop.iter().any(is_all));
    Ok(match (add_all, drop_all) {
        (true, _) => ALL & !dropped,
        (false, true) => added,
        (false, false) => (defaults | added) & !dropped,
    })
}

#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Data {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

const VERSION_3: u32 = 0x2008_0522;

fn read_permitted() -> io::Result<CapabilitySet> {
    let mut header = Header {
        version: VERSION_3,
        pid: 0,
    };
    let mut data = [Data::default(); 2];
    // SAFETY: both pointers are to live values of the layout that capget(2) wants for version 3.
    if unsafe { libc::syscall(libc::SYS_capget, &mut header, data.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(u64::from(data[0].permitted) | u64::from(data[1].permitted) << 32)
}

fn write(set: CapabilitySet) -> io::Result<()> {
    let mut header = Header {
        version: VERSION_3,
        pid: 0,
    };
    let low = Data {
        effective: set as u32,
        permitted: set as u32,
        inheritable: 0,
    };
    let high = Data {
        effective: (set >> 32) as u32,
        permitted: (set >> 32) as u32,
        inheritable: 0,
    };
    let data = [low, high];
    // SAFETY: as above; capset(2) only reads.
    if unsafe { libc::syscall(libc::SYS_capset, &mut header, data.as_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Makes all permitted capabilities effective again (changing the user id cleared them).
pub fn raise() -> io::Result<()> {
    write(read_permitted()?)
}

/// Keeps `keep` (as far as this process has it) and gives up the rest for good, bounding set included.
pub fn limit_to(keep: CapabilitySet) -> io::Result<()> {
    let permitted = read_permitted()?;
    for capability in 0..64 {
        if keep & (1 << capability) != 0 {
            continue;
        }
        // SAFETY: prctl with integer arguments only.
        if unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) } != 0 {
            let error = io::Error::last_os_error();
            if error.raw_os_error() == Some(libc::EINVAL) {
                break; // Past the last capability of this kernel.
            }
            return Err(error);
        }
    }
    // SAFETY: prctl with integer arguments only.
    if unsafe { libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) } != 0 {
        return Err(io::Error::last_os_error());
    }
    write(permitted & keep)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &[&str]) -> Vec<String> {
        list.iter().map(|s| (*s).to_owned()).collect()
    }

    #[test]
    fn add_and_drop_work_as_a_security_context_says() {
        let chown = bit("CAP_CHOWN").expect("exists");
        let admin = bit("net_admin").expect("exists");
        let default = resolve(&[], &[], false).expect("defaults");
        assert_eq!(default.count_ones(), 14);
        assert_eq!(
            resolve(&names(&["NET_ADMIN"]), &names(&["CHOWN"]), false),
            Ok((default | admin) & !chown)
        );
        assert_eq!(resolve(&names(&["CHOWN"]), &names(&["ALL"]), false), Ok(chown));
        assert_eq!(
            resolve(&names(&["ALL"]), &names(&["CHOWN"]), false),
            Ok(ALL & !chown)
        );
        assert_eq!(resolve(&[], &names(&["ALL"]), true), Ok(ALL));
        assert_eq!(resolve(&names(&["FLY"]), &[], false), Err("FLY".to_owned()));
    }
}
