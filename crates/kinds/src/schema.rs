//! The schemas of all built-in kinds: shapes from the API's registry package (see build.rs), list keys and patch
//! strategies from `facts`.

use meta::schema::Arena;
use std::sync::{Arc, OnceLock};

/// The arena that all built-in kinds share.
pub fn arena() -> &'static Arc<Arena> {
    static ARENA: OnceLock<Arc<Arena>> = OnceLock::new();
    ARENA.get_or_init(|| Arc::new(Arena::default()))
}
