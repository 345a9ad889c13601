//! The hash that leads a packet to a ring slot: fast on 64-bit words, and the same in kernel and userspace.

use crate::{address::Family, flow::FlowKey};

/// Hashes the client's address, for the scheduler `sh`.
#[inline(always)]
pub fn client<A: Family>(key: &FlowKey<A>) -> u64 {
    finish(address(key.src))
}

/// Hashes the 5-tuple, for the scheduler `mh` and for picks without the daemon.
#[inline(always)]
pub fn flow<A: Family>(key: &FlowKey<A>) -> u64 {
    let ports = u64::from(key.sport) << 32 | u64::from(key.dport) << 16 | u64::from(key.proto);
    finish(mix(mix(address(key.src), address(key.dst)), ports))
}

#[inline(always)]
fn address<A: Family>(address: A) -> u64 {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = address.mapped();
    let high = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
    mix(high, u64::from_be_bytes([i, j, k, l, m, n, o, p]))
}

/// One round of the multiply-xor kind (odd constant: the golden ratio's fraction, as in Fibonacci hashing).
#[inline(always)]
fn mix(state: u64, word: u64) -> u64 {
    (state.rotate_left(5) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// The finaliser of splitmix64 (Steele, Lea, Flood, "Fast Splittable Pseudorandom Number Generators", 2014).
#[inline(always)]
#[must_use]
pub fn finish(mut hash: u64) -> u64 {
    hash = (hash ^ hash >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ hash >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ hash >> 31
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{address::V4, ring, service};

    #[test]
    fn neighbouring_flows_spread_over_the_ring() {
        let mut hits = [0_u32; 16];
        for sport in 0..16_000 {
            let key = FlowKey::<V4> {
                src: [198, 51, 100, 2],
                dst: [203, 0, 113, 10],
                sport,
                dport: 80,
                proto: service::TCP,
                pad: [0; 3],
            };
            hits[ring::slot(flow(&key)) * 16 / ring::SLOTS] += 1;
        }
        assert!(hits.iter().all(|&n| (850..1150).contains(&n)), "{hits:?}");
    }
}
