//! Tasks for those who work on this repository: `cargo xtask tidy` checks the house rules that clippy cannot see.

#![allow(clippy::print_stdout)] // a command line tool

mod tidy;
mod wire;

use std::process::ExitCode;

const USAGE: &str = "usage: cargo xtask tidy | gen [--check]\n\n  tidy   checks the house rules; prints what is wrong, where, and what to do\n  gen    writes the tables of facts anew; with --check, tells whether they are up to date (needs Go)";

fn main() -> anyhow::Result<ExitCode> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["tidy"] => tidy::run(),
        ["gen"] => wire::generate(std::path::Path::new("."), false).map(|()| ExitCode::SUCCESS),
        ["gen", "--check"] => wire::generate(std::path::Path::new("."), true).map(|()| ExitCode::SUCCESS),
        ["help" | "--help" | "-h"] | [] => {
            println!("{USAGE}");
            Ok(ExitCode::SUCCESS)
        }
        _ => {
            eprintln!("{USAGE}");
            Ok(ExitCode::from(2))
        }
    }
}
