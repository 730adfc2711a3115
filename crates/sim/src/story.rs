//! Who did what and when, in words. Told only when asked for: a failing seed is run again with the story on.

/// Lines of a run, or silence.
#[derive(Default)]
pub struct Story {
    told: Option<Vec<String>>,
}

impl Story {
    pub fn new(tell: bool) -> Self {
        Self {
            told: tell.then(Vec::new),
        }
    }

    pub fn is_told(&self) -> bool {
        self.told.is_some()
    }

    /// Adds a line, which is only made when someone listens.
    pub fn tell(&mut self, step: usize, at_ms: u64, who: &str, what: impl FnOnce() -> String) {
        if let Some(lines) = &mut self.told {
            let seconds = at_ms as f64 / 1000.0;
            lines.push(format!("{step:>4} {seconds:>9.3}s {who:<28} {}", what()));
        }
    }

    pub fn lines(&self) -> &[String] {
        self.told.as_deref().unwrap_or_default()
    }
}
