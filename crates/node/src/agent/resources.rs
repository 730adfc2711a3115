//! Requests and limits as the kernel takes them. Source: kubelet's `cm.MilliCPUToShares`, `MilliCPUToQuota` and
//! `qos.GetContainerOOMScoreAdjust`. Pure.

use crate::machine::is_sidecar;
use crate::runtime::Resources;
use k8s_openapi::api::core::v1::{Container, PodSpec, ResourceRequirements};
use meta::Quantity;
use std::collections::BTreeMap;

const PERIOD_US: u64 = 100_000;
const LEAST_QUOTA_US: i64 = 1_000;
const LEAST_SHARES: u64 = 2;
const MOST_SHARES: u64 = 262_144;

fn quantity(resources: Option<&ResourceRequirements>, limits: bool, name: &str) -> Option<Quantity> {
    let list = match limits {
        true => resources?.limits.as_ref(),
        false => resources?.requests.as_ref(),
    };
    Quantity::parse(&list?.get(name)?.0)
}

/// `qos` is the pod's class, `memory_bytes` the node's memory. A container without a limit has the pod's.
pub fn of(container: &Container, pod: &PodSpec, qos: &str, memory_bytes: i64) -> Resources {
    let own = |limits, name| quantity(container.resources.as_ref(), limits, name);
    let limit = |name| own(true, name).or_else(|| quantity(pod.resources.as_ref(), true, name));
    let cpu_limit = limit("cpu").map(Quantity::millis);
    let requested = own(false, "cpu").map(Quantity::millis).or(cpu_limit);
    Resources {
        cpu_shares: Some(shares(requested.unwrap_or(0))),
        oom_score_adj: Some(oom_score(container, pod, qos, memory_bytes)),
        ..limits(cpu_limit, limit("memory"))
    }
}

/// What the whole pod has: its share by all that it requests, and limits of its own.
pub fn of_pod(pod: &PodSpec, requests: &BTreeMap<String, Quantity>) -> Resources {
    let requested = requests.get("cpu").map_or(0, |cpu| cpu.millis());
    let limit = |name| quantity(pod.resources.as_ref(), true, name);
    Resources {
        cpu_shares: Some(shares(requested)),
        ..limits(limit("cpu").map(Quantity::millis), limit("memory"))
    }
}

fn shares(millis: i64) -> u64 {
    let shares = u64::try_from(millis).unwrap_or(0).saturating_mul(1024) / 1000;
    shares.clamp(LEAST_SHARES, MOST_SHARES)
}

fn limits(cpu_millis: Option<i64>, memory: Option<Quantity>) -> Resources {
    let quota = cpu_millis
        .filter(|limit| *limit > 0)
        .map(|limit| limit.saturating_mul(100).max(LEAST_QUOTA_US));
    Resources {
        cpu_quota_us: quota,
        cpu_period_us: quota.map(|_| PERIOD_US),
        memory_limit_bytes: memory.map(Quantity::value).filter(|limit| *limit > 0),
        ..Resources::default()
    }
}

fn oom_score(container: &Container, pod: &PodSpec, qos: &str, memory_bytes: i64) -> i32 {
    match qos {
        "Guaranteed" => -997,
        "BestEffort" => 1000,
        _ => {
            let own = |c: &Container| {
                let memory = quantity(c.resources.as_ref(), false, "memory");
                memory.map_or(0, Quantity::value)
            };
            // What the pod requests beyond its containers is shared among them.
            let running = pod.init_containers.iter().flatten().filter(|c| is_sidecar(c));
            let running: Vec<&Container> = running.chain(&pod.containers).collect();
            let of_pod = quantity(pod.resources.as_ref(), false, "memory").map(Quantity::value);
            let left = of_pod.map_or(0, |all| {
                (all - running.iter().map(|c| own(c)).sum::<i64>()).max(0)
            });
            let each = left / i64::try_from(running.len()).unwrap_or(1).max(1);
            let mut requested = own(container);
            if is_sidecar(container) {
                // A sidecar goes no earlier than what it serves.
                requested = requested.max(pod.containers.iter().map(own).min().unwrap_or(0));
            }
            let share = i128::from(requested + each) * 1000 / i128::from(memory_bytes.max(1));
            i32::try_from((1000 - share).clamp(3, 999)).unwrap_or(999)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of_json(resources: serde_json::Value, qos: &str) -> Resources {
        in_pod(resources, json!({}), qos)
    }

    fn in_pod(resources: serde_json::Value, of_pod: serde_json::Value, qos: &str) -> Resources {
        let container = json!({"name": "c", "resources": resources});
        let pod = json!({"resources": of_pod, "containers": [container, {"name": "other"}]});
        let pod: PodSpec = serde_json::from_value(pod).expect("a pod");
        of(&pod.containers[0], &pod, qos, 1 << 30)
    }

    #[test]
    fn a_pods_own_limits_hold_for_all_and_each() {
        let limits = json!({"limits": {"cpu": "500m", "memory": "48Mi"}, "requests": {"memory": "512Mi"}});
        let r = in_pod(json!({}), limits.clone(), "Burstable");
        assert_eq!(
            (r.cpu_quota_us, r.memory_limit_bytes),
            (Some(50_000), Some(48 << 20))
        );
        assert_eq!(r.oom_score_adj, Some(750), "half of what the pod requests");
        let r = in_pod(json!({"limits": {"memory": "16Mi"}}), limits.clone(), "Burstable");
        assert_eq!(r.memory_limit_bytes, Some(16 << 20));
        let pod = serde_json::from_value(json!({"resources": limits, "containers": []})).expect("a pod");
        let requests = BTreeMap::from([("cpu".to_owned(), Quantity::parse("1500m").expect("a quantity"))]);
        let r = of_pod(&pod, &requests);
        assert_eq!(
            (
                r.cpu_shares,
                r.cpu_quota_us,
                r.memory_limit_bytes,
                r.oom_score_adj
            ),
            (Some(1536), Some(50_000), Some(48 << 20), None)
        );
    }

    #[test]
    fn quantities_become_the_kernels_numbers() {
        let r = of_json(
            json!({"limits": {"cpu": "250m", "memory": "64Mi"}, "requests": {"cpu": "100m", "memory": "512Mi"}}),
            "Burstable",
        );
        assert_eq!(
            (
                r.cpu_shares,
                r.cpu_quota_us,
                r.memory_limit_bytes,
                r.oom_score_adj
            ),
            (Some(102), Some(25_000), Some(64 << 20), Some(500))
        );
        let r = of_json(json!({}), "BestEffort");
        assert_eq!(
            (
                r.cpu_shares,
                r.cpu_quota_us,
                r.memory_limit_bytes,
                r.oom_score_adj
            ),
            (Some(2), None, None, Some(1000))
        );
        assert_eq!(
            of_json(json!({"limits": {"cpu": "1m"}}), "Guaranteed").cpu_quota_us,
            Some(1000)
        );
    }
}
