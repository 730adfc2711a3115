//! The default seccomp profile as a BPF program, made here in Rust so that no C library is needed.
//! Meaning as containerd's default profile: what can touch the kernel or other containers is refused (EPERM)
//! unless a capability goes with it; what this table does not know is ENOSYS.

use std::io;

use super::caps::{self, CapabilitySet};

/// The newest system call that the table was written for; later ones answer ENOSYS, as on an older kernel.
const NEWEST: u32 = 466;

#[cfg(target_arch = "x86_64")]
const ARCH: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const ARCH: u32 = 0xc000_00b7;

/// Namespace flags of clone(2): making namespaces is SYS_ADMIN's.
const CLONE_NAMESPACES: u32 = 0x7e02_0000;
const AF_VSOCK: u32 = 40;

/// Refused always, on every architecture.
const NEVER: &[i64] = &[
    libc::SYS_add_key,
    libc::SYS_keyctl,
    libc::SYS_request_key,
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_nfsservctl,
    libc::SYS_pivot_root,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_move_pages,
    libc::SYS_migrate_pages,
];

/// Refused unless the container has the capability.
const WITH_CAPABILITY: &[(&str, &[i64])] = &[
    (
        "SYS_ADMIN",
        &[
            libc::SYS_mount,
            libc::SYS_umount2,
            libc::SYS_setns,
            libc::SYS_unshare,
            libc::SYS_sethostname,
            libc::SYS_setdomainname,
            libc::SYS_quotactl,
            libc::SYS_quotactl_fd,
            libc::SYS_lookup_dcookie,
            libc::SYS_fsopen,
            libc::SYS_fsconfig,
            libc::SYS_fsmount,
            libc::SYS_fspick,
            libc::SYS_open_tree,
            libc::SYS_move_mount,
            libc::SYS_mount_setattr,
            libc::SYS_fanotify_init,
        ],
    ),
    ("DAC_READ_SEARCH", &[libc::SYS_open_by_handle_at]),
    ("SYS_BOOT", &[libc::SYS_reboot]),
    ("SYS_CHROOT", &[libc::SYS_chroot]),
    (
        "SYS_MODULE",
        &[
            libc::SYS_init_module,
            libc::SYS_finit_module,
            libc::SYS_delete_module,
        ],
    ),
    ("SYS_PACCT", &[libc::SYS_acct]),
    (
        "SYS_PTRACE",
        &[libc::SYS_kcmp, libc::SYS_pidfd_getfd, libc::SYS_process_madvise],
    ),
    ("SYS_TIME", &[libc::SYS_settimeofday, libc::SYS_clock_settime]),
    ("SYS_TTY_CONFIG", &[libc::SYS_vhangup]),
    (
        "SYS_NICE",
        &[
            libc::SYS_get_mempolicy,
            libc::SYS_set_mempolicy,
            libc::SYS_mbind,
            libc::SYS_set_mempolicy_home_node,
        ],
    ),
    ("SYSLOG", &[libc::SYS_syslog]),
    ("BPF", &[libc::SYS_bpf]),
    ("PERFMON", &[libc::SYS_perf_event_open]),
];

/// What only x86 has.
#[cfg(target_arch = "x86_64")]
const NEVER_HERE: &[i64] = &[
    libc::SYS_uselib,
    libc::SYS_ustat,
    libc::SYS_sysfs,
    libc::SYS__sysctl,
    libc::SYS_getpmsg,
    libc::SYS_putpmsg,
    libc::SYS_afs_syscall,
    libc::SYS_tuxcall,
    libc::SYS_security,
    libc::SYS_vserver,
    libc::SYS_epoll_ctl_old,
    libc::SYS_epoll_wait_old,
];
#[cfg(not(target_arch = "x86_64"))]
const NEVER_HERE: &[i64] = &[];
#[cfg(target_arch = "x86_64")]
const RAW_IO: &[i64] = &[libc::SYS_iopl, libc::SYS_ioperm];
#[cfg(not(target_arch = "x86_64"))]
const RAW_IO: &[i64] = &[];

// BPF instruction codes (linux/bpf_common.h).
const LOAD: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS
const JUMP_EQ: u16 = 0x15;
const JUMP_GE: u16 = 0x35;
const JUMP_ANY_BIT: u16 = 0x45; // BPF_JSET
const RETURN: u16 = 0x06;
const ALLOW: u32 = 0x7fff_0000;
const EPERM: u32 = 0x0005_0000 | libc::EPERM as u32;
const ENOSYS: u32 = 0x0005_0000 | libc::ENOSYS as u32;
/// Offsets in struct seccomp_data.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const ARGUMENT_0: u32 = 16;

fn op(code: u16, jt: u8, jf: u8, k: u32) -> libc::sock_filter {
    libc::sock_filter { code, jt, jf, k }
}

fn refused(capabilities: CapabilitySet) -> Vec<u32> {
    let has = |name: &str| caps::bit(name).is_some_and(|bit| capabilities & bit != 0);
    let mut numbers: Vec<i64> = NEVER.iter().chain(NEVER_HERE).copied().collect();
    for (name, calls) in WITH_CAPABILITY {
        // BPF and PERFMON were split off SYS_ADMIN, which still implies them.
        let implied = matches!(*name, "BPF" | "PERFMON" | "SYSLOG") && has("SYS_ADMIN");
        if !has(name) && !implied {
            numbers.extend_from_slice(calls);
        }
    }
    if !has("SYS_RAWIO") {
        numbers.extend_from_slice(RAW_IO);
    }
    let mut numbers: Vec<u32> = numbers
        .into_iter()
        .filter_map(|n| u32::try_from(n).ok())
        .collect();
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}

/// The program for a container with these capabilities. Calls with a constant answer cost nothing later:
/// the kernel keeps a bitmap of them.
pub fn program(capabilities: CapabilitySet) -> Vec<libc::sock_filter> {
    let admin = caps::bit("SYS_ADMIN").is_some_and(|bit| capabilities & bit != 0);
    let mut code = vec![
        op(LOAD, 0, 0, ARCHITECTURE),
        op(JUMP_EQ, 1, 0, ARCH),
        op(RETURN, 0, 0, EPERM),
        op(LOAD, 0, 0, NUMBER),
    ];
    // Also refuses x32, whose numbers have bit 30 set.
    code.extend([op(JUMP_GE, 0, 1, NEWEST + 1), op(RETURN, 0, 0, ENOSYS)]);
    for number in refused(capabilities) {
        code.extend([op(JUMP_EQ, 0, 1, number), op(RETURN, 0, 0, EPERM)]);
    }
    if !admin {
        // clone3's flags lie in memory that BPF cannot read; ENOSYS makes the C library fall back to clone.
        code.extend([
            op(JUMP_EQ, 0, 1, libc::SYS_clone3 as u32),
            op(RETURN, 0, 0, ENOSYS),
        ]);
        code.extend([
            op(JUMP_EQ, 0, 4, libc::SYS_clone as u32),
            op(LOAD, 0, 0, ARGUMENT_0),
            op(JUMP_ANY_BIT, 0, 1, CLONE_NAMESPACES),
            op(RETURN, 0, 0, EPERM),
            op(RETURN, 0, 0, ALLOW),
        ]);
    }
    code.extend([
        op(JUMP_EQ, 0, 4, libc::SYS_socket as u32),
        op(LOAD, 0, 0, ARGUMENT_0),
        op(JUMP_EQ, 0, 1, AF_VSOCK),
        op(RETURN, 0, 0, EPERM),
        op(RETURN, 0, 0, ALLOW),
    ]);
    code.extend([
        op(JUMP_EQ, 0, 8, libc::SYS_personality as u32),
        op(LOAD, 0, 0, ARGUMENT_0),
    ]);
    for (index, value) in [0, 0x8, 0x2_0000, 0x2_0008, u32::MAX].into_iter().enumerate() {
        code.push(op(JUMP_EQ, 5 - index as u8, 0, value)); // To the ALLOW after the EPERM.
    }
    code.extend([op(RETURN, 0, 0, EPERM), op(RETURN, 0, 0, ALLOW)]);
    code.push(op(RETURN, 0, 0, ALLOW));
    code
}

/// Installs the program on this thread and all that it starts. Needs SYS_ADMIN or no_new_privs.
pub fn install(program: &[libc::sock_filter]) -> io::Result<()> {
    let filter = libc::sock_fprog {
        len: program.len() as u16,
        filter: program.as_ptr().cast_mut(),
    };
    // SAFETY: `filter` points to `len` instructions that live through the call; the kernel copies them.
    if unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &filter) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs the program as the kernel would.
    fn answer(code: &[libc::sock_filter], number: u32, argument: u32) -> u32 {
        let (mut at, mut value) = (0, 0);
        loop {
            let step = code[at];
            at += 1;
            let jump = |taken: bool| usize::from(if taken { step.jt } else { step.jf });
            match step.code {
                LOAD => {
                    value = [(NUMBER, number), (ARCHITECTURE, ARCH), (ARGUMENT_0, argument)]
                        .iter()
                        .find(|(k, _)| *k == step.k)
                        .expect("known offset")
                        .1
                }
                JUMP_EQ => at += jump(value == step.k),
                JUMP_GE => at += jump(value >= step.k),
                JUMP_ANY_BIT => at += jump(value & step.k != 0),
                RETURN => return step.k,
                other => panic!("unknown instruction {other}"),
            }
        }
    }

    #[test]
    fn the_default_set_may_work_but_not_reach_the_kernel() {
        let code = program(caps::resolve(&[], &[], false).expect("defaults"));
        let ask = |number: i64, argument| answer(&code, number as u32, argument);
        for allowed in [
            libc::SYS_read,
            libc::SYS_execve,
            libc::SYS_capset,
            libc::SYS_accept,
            libc::SYS_chroot,
            libc::SYS_futex,
        ] {
            assert_eq!(ask(allowed, 0), ALLOW, "{allowed}");
        }
        for refused in [
            libc::SYS_mount,
            libc::SYS_unshare,
            libc::SYS_bpf,
            libc::SYS_keyctl,
            libc::SYS_io_uring_setup,
            libc::SYS_reboot,
        ] {
            assert_eq!(ask(refused, 0), EPERM, "{refused}");
        }
        assert_eq!(ask(libc::SYS_clone, libc::SIGCHLD as u32), ALLOW);
        assert_eq!(ask(libc::SYS_clone, libc::CLONE_NEWUSER as u32), EPERM);
        assert_eq!(ask(libc::SYS_clone3, 0), ENOSYS);
        assert_eq!(
            (ask(libc::SYS_socket, 2), ask(libc::SYS_socket, AF_VSOCK)),
            (ALLOW, EPERM)
        );
        for (domain, expected) in [
            (0, ALLOW),
            (8, ALLOW),
            (0x2_0000, ALLOW),
            (0x2_0008, ALLOW),
            (u32::MAX, ALLOW),
            (4, EPERM),
        ] {
            assert_eq!(
                ask(libc::SYS_personality, domain),
                expected,
                "personality {domain:#x}"
            );
        }
        assert_eq!(
            (ask(i64::from(NEWEST) + 1, 0), ask(0x4000_0000, 0)),
            (ENOSYS, ENOSYS)
        );
    }

    #[test]
    fn a_capability_opens_its_own_calls_only() {
        let code = program(caps::resolve(&["SYS_ADMIN".to_owned()], &[], false).expect("set"));
        assert_eq!(answer(&code, libc::SYS_mount as u32, 0), ALLOW);
        assert_eq!(answer(&code, libc::SYS_clone as u32, CLONE_NAMESPACES), ALLOW);
        assert_eq!(answer(&code, libc::SYS_reboot as u32, 0), EPERM);
    }
}
