//! Runs seeds by hand: `sim --seed N` tells the story of one, `sim --from N --count M` runs many and says which fail.
#![allow(clippy::print_stdout, reason = "its output is what it is for")]

use sim::Settings;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |name: &str| {
        let at = arguments.iter().position(|a| a == name)?;
        arguments.get(at + 1)?.parse::<u64>().ok()
    };
    let settings = Settings::default();
    if let Some(seed) = number("--seed") {
        println!("{}", sim::story(seed, &settings));
        return ExitCode::SUCCESS;
    }
    let (Some(from), Some(count)) = (number("--from"), number("--count")) else {
        println!("usage: sim --seed N | sim --from N --count M");
        return ExitCode::FAILURE;
    };
    let (mut failed, mut steps) = (0, 0);
    for seed in from..from + count {
        let report = sim::run(seed, &settings);
        steps += report.steps;
        if let Some(broken) = report.broken {
            failed += 1;
            println!("seed {seed}: {broken}");
        }
    }
    println!("{count} seeds, {steps} steps, {failed} failed");
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
