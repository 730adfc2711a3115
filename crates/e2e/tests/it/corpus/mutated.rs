//! Right bodies, cut short or scrambled byte by byte. What is scrambled comes from a fixed seed, so a finding repeats.

use super::Bad;
use super::objects::samples;
use http::Method;

const SCRAMBLES_A_KIND: usize = 25;
const CUTS_A_KIND: usize = 12;

/// A body that ends before it is over: always malformed.
pub fn truncated() -> Vec<Bad> {
    let mut corpus = Vec::new();
    for sample in samples() {
        let text = sample.object.to_string();
        for cut in 1..=CUTS_A_KIND {
            let end = text.len() * cut / (CUTS_A_KIND + 1);
            let bad = Bad::new(
                format!("cut after {end} of {} bytes", text.len()),
                Method::POST,
                &sample.path,
            );
            corpus.push(bad.raw("application/json", &text.as_bytes()[..end]).code(400));
        }
    }
    corpus
}

/// Some bytes replaced. Dry run, since what comes out may happen to be right.
pub fn scrambled() -> Vec<Bad> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = |limit: usize| {
        // xorshift64*
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        (state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % limit
    };
    let mut corpus = Vec::new();
    for sample in samples() {
        let text = sample.object.to_string().into_bytes();
        for round in 0..SCRAMBLES_A_KIND {
            let mut bytes = text.clone();
            for _ in 0..=next(4) {
                let at = next(bytes.len());
                bytes[at] = match next(4) {
                    0 => b"{}[]\",:0-9.eE\\"[next(14)],
                    1 => next(256) as u8,
                    2 => bytes[at] ^ (1 << next(8)),
                    _ => bytes[next(bytes.len())],
                };
            }
            let kind = ["application/json", "application/yaml"][round % 2];
            let path = format!("{}?dryRun=All", sample.path);
            let bad = Bad::new(
                format!("scrambled: {}", String::from_utf8_lossy(&bytes)),
                Method::POST,
                path,
            );
            corpus.push(bad.raw(kind, bytes).any_answer());
        }
    }
    corpus
}
