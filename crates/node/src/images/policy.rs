//! `imagePullPolicy`: whether to pull, use what is there, or refuse. Pure.

use super::reference::Reference;

/// A pod's `imagePullPolicy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PullPolicy {
    Always,
    IfNotPresent,
    Never,
}

impl PullPolicy {
    /// As written in a container; unset means `Always` for `:latest` and `IfNotPresent` otherwise (the API server
    /// defaults it so).
    pub fn of(text: Option<&str>, image: &str) -> PullPolicy {
        let latest = image
            .parse::<Reference>()
            .is_ok_and(|reference| reference.is_latest());
        match text {
            Some("Always") => PullPolicy::Always,
            Some("Never") => PullPolicy::Never,
            None | Some("") if latest => PullPolicy::Always,
            _ => PullPolicy::IfNotPresent,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PullDecision {
    Pull,
    UsePresent,
    /// Reason `ErrImageNeverPull`, message `Container image "…" is not present with pull policy of Never`.
    ErrImageNeverPull,
}

pub fn pull_decision(policy: PullPolicy, present: bool) -> PullDecision {
    match (policy, present) {
        (PullPolicy::Always, _) | (PullPolicy::IfNotPresent, false) => PullDecision::Pull,
        (_, true) => PullDecision::UsePresent,
        (PullPolicy::Never, false) => PullDecision::ErrImageNeverPull,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_decide() {
        use PullDecision::*;
        for (policy, image, present, want) in [
            (Some("Always"), "x:1", true, Pull),
            (Some("IfNotPresent"), "x", true, UsePresent),
            (Some("IfNotPresent"), "x", false, Pull),
            (Some("Never"), "x", true, UsePresent),
            (Some("Never"), "x", false, ErrImageNeverPull),
            (None, "x", true, Pull),
            (None, "x:latest", true, Pull),
            (None, "x:1", true, UsePresent),
        ] {
            assert_eq!(
                pull_decision(PullPolicy::of(policy, image), present),
                want,
                "{policy:?} {image} {present}"
            );
        }
    }
}
