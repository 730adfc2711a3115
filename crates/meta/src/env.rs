//! Time, randomness and tasks as an argument: the real ones in the binary, virtual ones in the simulator.

use crate::Timestamp;
use futures::future::BoxFuture;

/// What a shell may ask of its surroundings. Nothing in a core crate reads a clock or makes randomness by itself.
pub trait Env: Send + Sync {
    fn now(&self) -> Timestamp;

    /// 64 random bits: identifiers and name suffixes, never secrets.
    fn random(&self) -> u64;

    /// Resolves at `until`, or at once when that has passed.
    fn sleep_until(&self, until: Timestamp) -> BoxFuture<'static, ()>;

    /// Runs a task until it ends; tasks end by themselves when their channels close.
    fn spawn(&self, task: BoxFuture<'static, ()>);
}

/// A random UUID (version 4 layout) from 128 bits of `env`.
pub fn uuid(env: &dyn Env) -> String {
    uuid_from(env.random(), env.random())
}

/// The UUID that these 128 bits spell.
pub fn uuid_from(high: u64, low: u64) -> String {
    let high = (high & !0xf000) | 0x4000;
    let low = (low & !(0b11 << 62)) | (0b10 << 62);
    format!(
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        high >> 32,
        (high >> 16) & 0xffff,
        high & 0xffff,
        low >> 48,
        low & 0xffff_ffff_ffff
    )
}

/// Characters of generated name suffixes: no vowels and no look-alikes, as upstream's `utilrand`.
const SUFFIX_ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// Five characters that make a generated name unique.
pub fn name_suffix(random: u64) -> String {
    let mut left = random;
    (0..5)
        .map(|_| {
            let c = SUFFIX_ALPHABET[(left % SUFFIX_ALPHABET.len() as u64) as usize];
            left /= SUFFIX_ALPHABET.len() as u64;
            c as char
        })
        .collect()
}
