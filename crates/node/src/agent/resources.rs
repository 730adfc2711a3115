//! Requests and limits as the kernel takes them. Source: kubelet's `cm.MilliCPUToShares`, `MilliCPUToQuota` and
//! `qos.GetContainerOOMScoreAdjust`. Pure.

use crate::runtime::Resources;
use k8s_openapi::api::core::v1::Container;
use meta::Quantity;

const PERIOD_US: u64 = 100_000;
const LEAST_QUOTA_US: i64 = 1_000;
const LEAST_SHARES: u64 = 2;
const MOST_SHARES: u64 = 262_144;

fn quantity(container: &Container, limits: bool, name: &str) -> Option<Quantity> {
    let resources = container.resources.as_ref()?;
    let list = if limits {
        resources.limits.as_ref()
    } else {
        resources.requests.as_ref()
    };
    Quantity::parse(&list?.get(name)?.0)
}

/// `qos` is the pod's class, `memory_bytes` the node's memory.
pub fn of(container: &Container, qos: &str, memory_bytes: i64) -> Resources {
    let millis = |limits| quantity(container, limits, "cpu").map(Quantity::millis);
    let requested = millis(false).or(millis(true)).unwrap_or(0);
    let shares = u64::try_from(requested).unwrap_or(0) * 1024 / 1000;
    let quota = millis(true)
        .filter(|limit| *limit > 0)
        .map(|limit| (limit * 100).max(LEAST_QUOTA_US));
    Resources {
        cpu_shares: Some(shares.clamp(LEAST_SHARES, MOST_SHARES)),
        cpu_quota_us: quota,
        cpu_period_us: quota.map(|_| PERIOD_US),
        memory_limit_bytes: quantity(container, true, "memory")
            .map(Quantity::value)
            .filter(|limit| *limit > 0),
        pids_limit: None,
        oom_score_adj: Some(oom_score(container, qos, memory_bytes)),
    }
}

fn oom_score(container: &Container, qos: &str, memory_bytes: i64) -> i32 {
    match qos {
        "Guaranteed" => -997,
        "BestEffort" => 1000,
        _ => {
            let requested = quantity(container, false, "memory").map_or(0, Quantity::value);
            let share = i128::from(requested) * 1000 / i128::from(memory_bytes.max(1));
            i32::try_from((1000 - share).clamp(3, 999)).unwrap_or(999)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of_json(resources: serde_json::Value, qos: &str) -> Resources {
        let container = json!({"name": "c", "resources": resources});
        of(
            &serde_json::from_value(container).expect("a container"),
            qos,
            1 << 30,
        )
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
