//! Which pod has which address: pure book-keeping. The kernel's own routes are the durable copy.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use crate::config::Cidr;

/// Hands out pod addresses in a circle, so that a freed address rests for as long as possible.
#[derive(Debug, Clone)]
pub struct Ipam {
    cidr: Cidr,
    reserved: BTreeSet<u32>,
    by_pod: BTreeMap<String, u32>,
    taken: BTreeSet<u32>,
    /// Where the search for the next free address starts.
    next: u32,
}

impl Ipam {
    /// The network's first and last address and `reserved` are never handed out.
    pub fn new(cidr: Cidr, reserved: &[Ipv4Addr], next: u32) -> Self {
        let last = u32::try_from(cidr.size() - 1).unwrap_or(u32::MAX);
        let mut set: BTreeSet<u32> = reserved.iter().filter_map(|ip| cidr.index_of(*ip)).collect();
        set.extend([0, last]);
        Self {
            cidr,
            reserved: set,
            by_pod: BTreeMap::new(),
            taken: BTreeSet::new(),
            next,
        }
    }

    /// Records an address found in the kernel. False when it cannot be this pod's: outside
    /// the network, reserved, or another pod's.
    pub fn restore(&mut self, pod: &str, ip: Ipv4Addr) -> bool {
        let Some(index) = self.cidr.index_of(ip) else {
            return false;
        };
        if self.reserved.contains(&index) || self.by_pod.contains_key(pod) || !self.taken.insert(index) {
            return false;
        }
        self.by_pod.insert(pod.to_owned(), index);
        true
    }

    pub fn get(&self, pod: &str) -> Option<Ipv4Addr> {
        self.by_pod.get(pod).and_then(|index| self.cidr.nth(*index))
    }

    /// The pod's address, a new one when it has none; `None` when the network is full.
    pub fn allocate(&mut self, pod: &str) -> Option<Ipv4Addr> {
        if let Some(ip) = self.get(pod) {
            return Some(ip);
        }
        let size = u32::try_from(self.cidr.size()).unwrap_or(u32::MAX);
        let start = self.next % size;
        let free = |i: &u32| !self.reserved.contains(i) && !self.taken.contains(i);
        let index = (start..size).chain(0..start).find(free)?;
        self.next = (index + 1) % size;
        self.taken.insert(index);
        self.by_pod.insert(pod.to_owned(), index);
        self.cidr.nth(index)
    }

    /// Frees the pod's address and says which it was.
    pub fn release(&mut self, pod: &str) -> Option<Ipv4Addr> {
        let index = self.by_pod.remove(pod)?;
        self.taken.remove(&index);
        self.cidr.nth(index)
    }

    /// To be kept over a restart, so that an address freed just before is not handed out just after.
    pub fn next(&self) -> u32 {
        self.next
    }

    pub fn pods(&self) -> impl Iterator<Item = (&str, Ipv4Addr)> {
        self.by_pod
            .iter()
            .filter_map(|(pod, index)| Some((pod.as_str(), self.cidr.nth(*index)?)))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn small() -> Ipam {
        Ipam::new("10.1.0.0/28".parse().unwrap(), &[Ipv4Addr::new(10, 1, 0, 1)], 0)
    }

    #[test]
    fn a_freed_address_is_the_last_to_be_used_again() {
        let mut ipam = small();
        let first = ipam.allocate("a").unwrap();
        ipam.release("a");
        let later: Vec<_> = (0..12)
            .map(|i| ipam.allocate(&format!("p{i}")).unwrap())
            .collect();
        assert!(!later.contains(&first));
        assert_eq!(ipam.allocate("last"), Some(first));
        assert_eq!(ipam.allocate("one too many"), None);
    }

    #[test]
    fn a_pod_keeps_its_address_over_a_restart() {
        let mut ipam = small();
        assert!(ipam.restore("a", Ipv4Addr::new(10, 1, 0, 9)));
        assert!(
            !ipam.restore("b", Ipv4Addr::new(10, 1, 0, 9)),
            "two pods, one address"
        );
        assert!(!ipam.restore("c", Ipv4Addr::new(10, 1, 0, 1)), "the node's own");
        assert!(!ipam.restore("d", Ipv4Addr::new(10, 9, 0, 1)), "another network");
        assert_eq!(ipam.allocate("a"), Some(Ipv4Addr::new(10, 1, 0, 9)));
    }

    proptest! {
        #[test]
        fn no_two_pods_share_an_address(steps in prop::collection::vec((any::<bool>(), 0u8..20), 0..200)) {
            let mut ipam = small();
            for (attach, pod) in steps {
                let pod = format!("p{pod}");
                if attach { ipam.allocate(&pod); } else { ipam.release(&pod); }
                let ips: Vec<_> = ipam.pods().map(|(_, ip)| ip).collect();
                let distinct: BTreeSet<_> = ips.iter().collect();
                prop_assert_eq!(distinct.len(), ips.len());
                prop_assert!(!ips.contains(&Ipv4Addr::new(10, 1, 0, 1)));
            }
        }
    }
}
