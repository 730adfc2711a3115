//! Reads just enough of an ELF file to say whether it runs alone in an empty image on this machine.

/// Why a binary would not run as the only file of an image; `None` when it would.
pub(crate) fn why_not_standalone(bytes: &[u8], architecture: &str) -> Option<String> {
    if bytes.starts_with(b"#!") {
        return Some("it is a script, and an image of one file has no interpreter; build from a folder (--from-dir) that has one".into());
    }
    let Some(elf) = Elf::parse(bytes) else {
        return Some("it is not a Linux (ELF) program".into());
    };
    let machine = machine_name(elf.machine);
    if machine != architecture {
        return Some(format!(
            "it is built for {machine}, this machine is {architecture}"
        ));
    }
    let interpreter = elf.interpreter()?;
    Some(format!(
        "it is dynamically linked (it needs {interpreter} and shared libraries, which an image of one file does not \
         have). Build it static: Rust: RUSTFLAGS='-C target-feature=+crt-static' cargo build --release --target \
         x86_64-unknown-linux-gnu (or the target x86_64-unknown-linux-musl); Go: CGO_ENABLED=0 go build; C: gcc -static. \
         Or build from a folder (--from-dir) that has its libraries"
    ))
}

const PT_INTERP: u64 = 3;

struct Elf<'a> {
    bytes: &'a [u8],
    wide: bool,
    little: bool,
    machine: u64,
}

impl<'a> Elf<'a> {
    fn parse(bytes: &'a [u8]) -> Option<Elf<'a>> {
        if !bytes.starts_with(b"\x7fELF") {
            return None;
        }
        let mut elf = Elf {
            bytes,
            wide: *bytes.get(4)? == 2,
            little: *bytes.get(5)? == 1,
            machine: 0,
        };
        elf.machine = elf.number(18, 2)?;
        Some(elf)
    }

    fn number(&self, at: u64, size: u64) -> Option<u64> {
        let start = usize::try_from(at).ok()?;
        let raw = self
            .bytes
            .get(start..start.checked_add(usize::try_from(size).ok()?)?)?;
        let fold = |sum: u64, byte: &u8| sum << 8 | u64::from(*byte);
        Some(match self.little {
            true => raw.iter().rev().fold(0, fold),
            false => raw.iter().fold(0, fold),
        })
    }

    /// The program interpreter (dynamic loader) that the kernel would have to find.
    fn interpreter(&self) -> Option<String> {
        let (table, entry_size, count) = match self.wide {
            true => (self.number(32, 8)?, self.number(54, 2)?, self.number(56, 2)?),
            false => (self.number(28, 4)?, self.number(42, 2)?, self.number(44, 2)?),
        };
        for index in 0..count {
            let at = table.checked_add(index * entry_size)?;
            if self.number(at, 4)? != PT_INTERP {
                continue;
            }
            let (offset, size) = match self.wide {
                true => (
                    self.number(at.checked_add(8)?, 8)?,
                    self.number(at.checked_add(32)?, 8)?,
                ),
                false => (
                    self.number(at.checked_add(4)?, 4)?,
                    self.number(at.checked_add(16)?, 4)?,
                ),
            };
            let start = usize::try_from(offset).ok()?;
            let end = start.checked_add(usize::try_from(size).ok()?)?;
            let name = self.bytes.get(start..end).unwrap_or(b"a loader");
            return Some(String::from_utf8_lossy(name).trim_end_matches('\0').to_owned());
        }
        None
    }
}

fn machine_name(machine: u64) -> String {
    match machine {
        3 => "386".into(),
        40 => "arm".into(),
        62 => "amd64".into(),
        183 => "arm64".into(),
        243 => "riscv64".into(),
        22 => "s390x".into(),
        21 => "ppc64le".into(),
        other => format!("ELF machine {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dynamic_program_is_told_how_to_become_static() {
        // The test program itself is dynamically linked on every target that CI has.
        let own = std::fs::read("/proc/self/exe").expect("read this program");
        let why = why_not_standalone(&own, super::super::spec::host_architecture()).expect("not standalone");
        assert!(
            why.contains("dynamically linked") && why.contains("crt-static") && why.contains("/ld-"),
            "{why}"
        );
    }

    #[test]
    fn other_files_are_named_for_what_they_are() {
        assert!(
            why_not_standalone(b"#!/bin/sh\n", "amd64")
                .expect("why")
                .contains("script")
        );
        assert!(
            why_not_standalone(b"hello", "amd64")
                .expect("why")
                .contains("ELF")
        );
        let mut arm = vec![0u8; 64];
        arm[..6].copy_from_slice(b"\x7fELF\x02\x01");
        arm[18] = 183;
        let why = why_not_standalone(&arm, "amd64").expect("why");
        assert_eq!(why, "it is built for arm64, this machine is amd64");
        arm[18] = 62;
        assert_eq!(
            why_not_standalone(&arm, "amd64"),
            None,
            "no program headers, no interpreter"
        );
        for cut in 0..64 {
            why_not_standalone(&arm[..cut], "amd64"); // never panics
        }
    }
}
