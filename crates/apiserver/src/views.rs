//! Rows that are another version of what is stored under another row: the pipeline sees the objects in the row's own
//! form, and what it decides to write is brought back into the stored one. As upstream converts at its storage.
//! And rows of which nothing is stored, since the server knows at any time what there is.

use kinds::Row;
use meta::{Call, Draft, Object, Snapshot, Status, Verb};
use std::borrow::Cow;
use store::Write;

/// The snapshot with what the call is about in this row's form too.
pub fn snapshot(row: &Row, call: &Call, mut seen: Snapshot) -> Result<Snapshot, Status> {
    for object in row.rules.shows().into_iter().flatten() {
        let draft = Draft::new(object).map_err(Status::internal)?;
        seen.put(row.res, draft.seal(seen.revision()));
    }
    if !row.rules.is_view() {
        return Ok(seen);
    }
    let of = row.rules.version_of().unwrap_or(row.res);
    let name = match (&call.body, call.verb) {
        (Some(body), Verb::Create) if call.name.is_empty() => crate::core::metadata::text(body, "name"),
        _ => &call.name,
    };
    let revision = seen.revision();
    let mut with = seen.clone();
    if !name.is_empty() {
        if let Some(object) = seen.get(of, &call.namespace, name).filter(|o| differs(row, o)) {
            with.put(row.res, shown(row, object)?.into_owned());
        }
    } else if call.verb != Verb::Create {
        for object in seen.list(of, &call.namespace).filter(|o| differs(row, o)) {
            with.put(row.res, shown(row, object)?.into_owned());
        }
    }
    with.set_revision(revision);
    Ok(with)
}

/// Whether a stored object is not in the row's form.
fn differs(row: &Row, object: &Object) -> bool {
    row.rules.is_view() && row.rules.reshapes(object)
}

/// A stored object in the row's form, at the revision that it has.
pub fn shown<'a>(row: &Row, object: &'a Object) -> Result<Cow<'a, Object>, Status> {
    if !differs(row, object) {
        return Ok(Cow::Borrowed(object));
    }
    let mut value = object.value();
    row.rules.shown(&mut value);
    let draft = Draft::new(value).map_err(Status::internal)?;
    Ok(Cow::Owned(draft.seal(object.revision())))
}

/// Writes of the row as writes of what is stored.
pub fn stored(row: &Row, writes: Vec<Write>) -> Result<Vec<Write>, Status> {
    let Some(of) = row.rules.version_of() else {
        return Ok(writes);
    };
    let stored = |write| match write {
        Write::Put { res, draft, expect } if res == row.res => {
            let mut value = draft.seal(0).value();
            row.rules.stored(&mut value);
            let draft = Draft::new(value).map_err(Status::internal)?;
            Ok(Write::Put {
                res: of,
                draft,
                expect,
            })
        }
        Write::Delete { res, key, expect } if res == row.res => Ok(Write::Delete { res: of, key, expect }),
        other => Ok(other),
    };
    writes.into_iter().map(stored).collect()
}
