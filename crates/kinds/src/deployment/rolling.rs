//! The arithmetic of rolling updates: how far the new ReplicaSet may grow and the old ones must shrink.

use super::plan::Deployment;
use super::replicasets::Set;
use crate::plan::Plan;

/// The size that a new ReplicaSet starts with.
pub fn first_size(deployment: &Deployment, sets: &[Set]) -> i64 {
    new_size(deployment, 0, sets.iter().map(|s| s.replicas).sum())
}

/// `total` counts all sets, the new one included.
fn new_size(deployment: &Deployment, current: i64, total: i64) -> i64 {
    if deployment.recreate {
        return deployment.replicas;
    }
    let room = deployment.replicas + deployment.max_surge - total;
    if room <= 0 {
        current
    } else {
        current + room.min(deployment.replicas - current)
    }
}

/// One step of a rolling update: grow the new set; when it cannot grow, shrink the old ones.
pub fn roll(deployment: &Deployment, sets: &mut [Set], new: usize, plan: &mut Plan) {
    let total: i64 = sets.iter().map(|s| s.replicas).sum();
    let current = sets[new].replicas;
    let wanted = if current > deployment.replicas {
        deployment.replicas
    } else {
        new_size(deployment, current, total)
    };
    if wanted != current {
        return sets[new].scale_to(wanted);
    }
    shrink_old(deployment, sets, new, plan);
}

fn shrink_old(deployment: &Deployment, sets: &mut [Set], new: usize, plan: &mut Plan) {
    let old_total: i64 = sets
        .iter()
        .enumerate()
        .filter(|(i, _)| *i != new)
        .map(|(_, s)| s.replicas)
        .sum();
    if old_total == 0 {
        return;
    }
    let min_available = deployment.replicas - deployment.max_unavailable;
    let new_unavailable = sets[new].replicas - sets[new].available;
    let mut budget = old_total + sets[new].replicas - min_available - new_unavailable;
    if budget <= 0 {
        plan.why
            .push("waits for new pods to be available before old ones go".into());
        return;
    }
    let mut oldest: Vec<usize> = (0..sets.len()).filter(|i| *i != new).collect();
    oldest.sort_by_key(|&i| sets[i].object.meta().created);
    // Pods that are not available serve nobody: they go first.
    for &i in &oldest {
        let unhealthy = (sets[i].replicas - sets[i].available).clamp(0, budget);
        let size = sets[i].replicas - unhealthy;
        sets[i].scale_to(size);
        budget -= unhealthy;
    }
    let available: i64 = sets.iter().map(|s| s.available).sum();
    let mut spare = (available - min_available).clamp(0, budget);
    for &i in &oldest {
        let step = sets[i].replicas.min(spare);
        let size = sets[i].replicas - step;
        sets[i].scale_to(size);
        spare -= step;
    }
}

/// The Deployment's size changed (or it is paused): the difference is spread over all active sets in proportion.
pub fn scale(deployment: &Deployment, sets: &mut [Set], new: Option<usize>, plan: &mut Plan) {
    let active: Vec<usize> = (0..sets.len()).filter(|&i| sets[i].replicas > 0).collect();
    if active.len() <= 1 {
        let newest = || (0..sets.len()).max_by_key(|&i| sets[i].object.meta().created);
        let only = active.first().copied().or(new).or_else(newest);
        if let Some(i) = only {
            sets[i].scale_to(deployment.replicas);
        }
        return;
    }
    if let Some(new) = new
        && sets[new].replicas == deployment.replicas
        && sets[new].available == deployment.replicas
    {
        active
            .iter()
            .filter(|i| **i != new)
            .for_each(|&i| sets[i].scale_to(0));
        return;
    }
    if deployment.recreate {
        return;
    }
    plan.why
        .push("spreads the change of size over all ReplicaSets in proportion".into());
    proportional(deployment, sets, active);
}

fn proportional(deployment: &Deployment, sets: &mut [Set], mut active: Vec<usize>) {
    let total: i64 = active.iter().map(|&i| sets[i].replicas).sum();
    let allowed = if deployment.replicas > 0 {
        deployment.replicas + deployment.max_surge
    } else {
        0
    };
    let change = allowed - total;
    // Larger ones first; of equal sizes, growing starts with the newest and shrinking with the oldest.
    active.sort_by_key(|&i| sets[i].object.meta().created);
    if change > 0 {
        active.reverse();
    }
    active.sort_by_key(|&i| std::cmp::Reverse(sets[i].replicas));
    let mut left = change;
    for &i in &active {
        let size = sets[i].replicas;
        let annotated = sets[i]
            .max_replicas
            .filter(|m| *m > 0)
            .unwrap_or(deployment.replicas);
        let share = ((size * allowed) as f64 / annotated as f64).round() as i64 - size;
        let step = if change > 0 {
            share.clamp(0, left)
        } else {
            share.clamp(left, 0)
        };
        sets[i].scale_to((size + step).max(0));
        left -= step;
    }
    if let Some(&first) = active.first() {
        let size = (sets[first].replicas + left).max(0);
        sets[first].scale_to(size);
    }
}
