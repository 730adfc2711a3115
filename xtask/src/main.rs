//! Tasks for those who work on this repository: `cargo xtask tidy` checks the house rules that clippy cannot see.

#![allow(clippy::print_stdout)] // a command line tool

mod tidy;

use std::process::ExitCode;

const USAGE: &str =
    "usage: cargo xtask tidy\n\n  tidy   checks the house rules; prints what is wrong, where, and what to do";

fn main() -> anyhow::Result<ExitCode> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["tidy"] => tidy::run(),
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
