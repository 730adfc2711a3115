//! The simulated world: the real pipeline, store, controllers and plans under a virtual clock and a seed that decides
//! who acts next and what goes wrong. A seed replays exactly: `cargo run -p sim -- --seed N` tells its story.

mod calm;
mod chaos;
mod containers;
mod env;
mod laws;
mod node;
mod office;
mod podworker;
mod rng;
mod start;
mod story;
mod user;
mod words;
mod world;

pub use laws::Broken;
pub use start::controllers;
pub use world::{Settings, World};

/// What became of a seed.
pub struct Report {
    pub seed: u64,
    pub steps: usize,
    pub writes: u64,
    pub broken: Option<Broken>,
    pub story: Vec<String>,
}

/// Runs one seed to its end.
pub fn run(seed: u64, settings: &Settings) -> Report {
    let mut report = Report {
        seed,
        steps: 0,
        writes: 0,
        broken: None,
        story: Vec::new(),
    };
    match World::new(seed, settings) {
        Ok(mut world) => {
            report.broken = world.live(settings).err();
            report.steps = world.step;
            report.writes = world.snapshot().revision();
            report.story = world.story.lines().to_vec();
        }
        Err(broken) => report.broken = Some(broken),
    }
    report
}

/// The story of a seed: every step in words, and how it ended.
pub fn story(seed: u64, settings: &Settings) -> String {
    let report = run(
        seed,
        &Settings {
            tell: true,
            ..settings.clone()
        },
    );
    let end = match &report.broken {
        Some(broken) => broken.to_string(),
        None => "all laws held".into(),
    };
    format!(
        "{}\nseed {seed}: {} steps, {} writes: {end}",
        report.story.join("\n"),
        report.steps,
        report.writes
    )
}
