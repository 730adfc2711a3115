//! Which devices a container may use, where cgroup v2 has no controller for it: a small BPF program on the container's
//! cgroup, asked by the kernel at every mknod and open of a device. libcontainer's own needs libbpf and libelf, C
//! libraries that a build of ours must not ask for; the program is a handful of comparisons.
//! Source: linux/bpf.h, `BPF_PROG_TYPE_CGROUP_DEVICE`.
#![allow(unsafe_code)] // bpf(2), which no crate here wraps.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;

const BLOCK: u32 = 1;
const CHAR: u32 = 2;
const MKNOD: u32 = 1;
const READ: u32 = 2;
const WRITE: u32 = 4;

const BPF_PROG_LOAD: libc::c_int = 5;
const BPF_PROG_ATTACH: libc::c_int = 8;
const BPF_PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const BPF_CGROUP_DEVICE: u32 = 6;
const BPF_F_ALLOW_MULTI: u32 = 2;

/// What every container may do, as runc has it: make any node, use the harmless ones and terminals.
const ALLOWED: [Rule; 11] = [
    Rule::any(CHAR, MKNOD),
    Rule::any(BLOCK, MKNOD),
    Rule::char(1, Some(3)), // null
    Rule::char(1, Some(5)), // zero
    Rule::char(1, Some(7)), // full
    Rule::char(1, Some(8)), // random
    Rule::char(1, Some(9)), // urandom
    Rule::char(5, Some(0)), // tty
    Rule::char(5, Some(1)), // console
    Rule::char(5, Some(2)), // ptmx
    Rule::char(136, None),  // pts
];

/// Some devices, and what may be done with them.
struct Rule {
    kind: u32,
    /// `None`: any.
    major: Option<u32>,
    minor: Option<u32>,
    access: u32,
}

impl Rule {
    const fn any(kind: u32, access: u32) -> Self {
        Self {
            kind,
            major: None,
            minor: None,
            access,
        }
    }

    const fn char(major: u32, minor: Option<u32>) -> Self {
        Self {
            kind: CHAR,
            major: Some(major),
            minor,
            access: MKNOD | READ | WRITE,
        }
    }
}

/// An instruction as the kernel reads it.
#[repr(C)]
#[derive(Clone, Copy)]
struct Instruction {
    code: u8,
    /// Destination in the lower four bits, source in the upper.
    registers: u8,
    /// Of a jump, in instructions from the next one.
    offset: i16,
    value: i32,
}

const RESULT: u8 = 0;
const CONTEXT: u8 = 1;
const KIND: u8 = 2;
const ACCESS: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;
const SCRATCH: u8 = 6;

const LOAD_WORD: u8 = 0x61;
const MOVE: u8 = 0xb7;
const COPY: u8 = 0xbf;
const AND: u8 = 0x57;
const SHIFT_RIGHT: u8 = 0x77;
const JUMP_IF_NOT: u8 = 0x55;
const EXIT: u8 = 0x95;

fn op(code: u8, destination: u8, source: u8, offset: i16, value: u32) -> Instruction {
    Instruction {
        code,
        registers: destination | source << 4,
        offset,
        value: value as i32,
    }
}

/// The first rule that fits allows; nothing else does.
fn program(rules: &[Rule]) -> Vec<Instruction> {
    // The context: kind in the lower 16 bits of the first word, access in the upper; then major and minor.
    let mut all = vec![
        op(LOAD_WORD, KIND, CONTEXT, 0, 0),
        op(COPY, ACCESS, KIND, 0, 0),
        op(AND, KIND, 0, 0, 0xffff),
        op(SHIFT_RIGHT, ACCESS, 0, 0, 16),
        op(LOAD_WORD, MAJOR, CONTEXT, 4, 0),
        op(LOAD_WORD, MINOR, CONTEXT, 8, 0),
    ];
    for rule in rules {
        // What is asked for beyond this rule must be nothing. Only the lower 16 bits are there, so the mask is positive.
        let mut tests = vec![
            op(COPY, SCRATCH, ACCESS, 0, 0),
            op(AND, SCRATCH, 0, 0, !rule.access & 0xffff),
            op(JUMP_IF_NOT, SCRATCH, 0, 0, 0),
            op(JUMP_IF_NOT, KIND, 0, 0, rule.kind),
        ];
        tests.extend(rule.major.map(|major| op(JUMP_IF_NOT, MAJOR, 0, 0, major)));
        tests.extend(rule.minor.map(|minor| op(JUMP_IF_NOT, MINOR, 0, 0, minor)));
        tests.extend([op(MOVE, RESULT, 0, 0, 1), op(EXIT, 0, 0, 0, 0)]);
        let length = tests.len();
        for (number, test) in tests.iter_mut().enumerate() {
            if test.code == JUMP_IF_NOT {
                test.offset = (length - number - 1) as i16; // To the next rule.
            }
        }
        all.extend(tests);
    }
    all.extend([op(MOVE, RESULT, 0, 0, 0), op(EXIT, 0, 0, 0, 0)]);
    all
}

/// Lets those in the cgroup (its directory on v2) use what every container may, and nothing else.
///
/// # Errors
/// What bpf(2) says: `EPERM` without CAP_BPF and CAP_NET_ADMIN (or CAP_SYS_ADMIN).
pub fn attach(cgroup: &Path) -> io::Result<()> {
    let program = load(&program(&ALLOWED))?;
    let cgroup = File::open(cgroup)?;
    bpf(
        BPF_PROG_ATTACH,
        &AttachCall {
            target: cgroup.as_raw_fd() as u32,
            program: program.as_raw_fd() as u32,
            kind: BPF_CGROUP_DEVICE,
            flags: BPF_F_ALLOW_MULTI,
        },
    )
    .map(drop)
}

fn load(program: &[Instruction]) -> io::Result<OwnedFd> {
    let call = LoadCall {
        kind: BPF_PROG_TYPE_CGROUP_DEVICE,
        count: program.len() as u32,
        instructions: program.as_ptr() as u64,
        license: c"Apache-2.0".as_ptr() as u64,
        log: [0; 2],
        kernel_and_flags: 0,
    };
    let fd = bpf(BPF_PROG_LOAD, &call)?;
    // SAFETY: the kernel made this descriptor for this call; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The beginning of bpf(2)'s attribute for `BPF_PROG_LOAD`; what follows is 0.
#[repr(C)]
struct LoadCall {
    kind: u32,
    count: u32,
    instructions: u64,
    license: u64,
    /// Level and size; buffer: the verifier is not asked for its words.
    log: [u64; 2],
    kernel_and_flags: u64,
}

/// … for `BPF_PROG_ATTACH`.
#[repr(C)]
struct AttachCall {
    target: u32,
    program: u32,
    kind: u32,
    flags: u32,
}

fn bpf<T>(command: libc::c_int, call: &T) -> io::Result<i32> {
    // SAFETY: `call` and what it points to are live and as long as said.
    match unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(call), size_of::<T>()) } {
        result if result >= 0 => Ok(result as i32),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the program says: interpreted here, so that no cgroup and no rights are needed.
    fn allows(kind: u32, access: u32, major: u32, minor: u32) -> bool {
        let context = [access << 16 | kind, major, minor];
        let (code, mut registers, mut at) = (program(&ALLOWED), [0u64; 7], 0usize);
        loop {
            let step = code[at];
            let (to, from) = ((step.registers & 15) as usize, (step.registers >> 4) as usize);
            let value = step.value as i64 as u64;
            at += 1;
            match step.code {
                LOAD_WORD => registers[to] = u64::from(context[step.offset as usize / 4]),
                MOVE => registers[to] = value,
                COPY => registers[to] = registers[from],
                AND => registers[to] &= value,
                SHIFT_RIGHT => registers[to] >>= value,
                JUMP_IF_NOT if registers[to] != value => at += step.offset as usize,
                JUMP_IF_NOT => {}
                EXIT => return registers[0] == 1,
                other => panic!("instruction {other:#x}"),
            }
        }
    }

    #[test]
    fn every_container_has_the_harmless_devices_only() {
        assert!(allows(CHAR, READ | WRITE, 1, 3), "null");
        assert!(allows(CHAR, READ | WRITE, 136, 17), "a terminal");
        assert!(allows(BLOCK, MKNOD, 8, 0), "a node may be made");
        assert!(!allows(BLOCK, READ, 8, 0), "but not read");
        assert!(!allows(BLOCK, READ | MKNOD, 8, 0));
        assert!(!allows(BLOCK, READ, 1, 3), "null's numbers as a disk");
        assert!(!allows(CHAR, READ, 1, 1), "mem");
        assert!(!allows(CHAR, WRITE, 10, 200), "tun");
    }

    #[test]
    fn the_kernel_takes_it() {
        match load(&program(&ALLOWED)) {
            Ok(_) => {}
            Err(error) if error.raw_os_error() == Some(libc::EPERM) => eprintln!("not asked: {error}"),
            Err(error) => panic!("the verifier refuses the program: {error}"),
        }
    }
}
