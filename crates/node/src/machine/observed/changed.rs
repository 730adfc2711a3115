//! The image of a container may change while its pod runs. What was begun for the old one is void then.

use super::super::spec::PodView;
use super::super::step::Step;
use super::{Container, Image, Observed};

impl Observed {
    pub(super) fn notice_images(&mut self, pod: &PodView) {
        for spec in &pod.containers {
            let pulls = self.is_busy(&spec.name, |step| matches!(step, Step::PullImage { .. }));
            let starts = self.is_busy(&spec.name, Step::is_start);
            if let Some(container) = self.containers.get_mut(&spec.name) {
                container.want(&spec.image, pulls, starts);
            }
        }
    }
}

impl Container {
    fn want(&mut self, image: &str, pulls: bool, starts: bool) {
        if self.wanted == image {
            return;
        }
        let first = self.wanted.is_empty();
        self.wanted = image.to_owned();
        if first {
            return;
        }
        // It is tried at once, whatever the old one waits for.
        (self.image, self.trouble) = (Image::Todo, None);
        self.pulls_another |= pulls;
        self.outdated = self.is_alive() || starts;
    }
}
