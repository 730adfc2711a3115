//! GET and LIST: what is stored, as it is stored.

use super::{Cx, Decision, page, scale, select::Filter};
use meta::{Call, Reply, Status};

pub fn get(cx: &Cx, call: &Call) -> Result<Decision, Status> {
    let object = cx.stored(call)?;
    let reply = match call.subresource {
        "scale" => Reply::Value {
            value: scale::of(cx.row, &object)?,
            created: false,
        },
        "" | "status" => Reply::Object {
            object,
            created: false,
        },
        _ => return Err(Status::method_not_allowed()),
    };
    Ok(Decision::Answer(reply, Vec::new()))
}

/// The caller has chosen the snapshot that `page::wanted` asks for.
pub fn list(cx: &Cx, call: &Call) -> Result<Decision, Status> {
    let filter = Filter::new(cx.row, &call.namespace, &call.options)?;
    let snapshot = cx.seen.snapshot;
    let after = page::start(&call.options)?;
    let limit = match call.options.limit {
        0 => usize::MAX,
        n => n,
    };
    let prefix = filter.prefix();
    let mut all = snapshot.after(cx.row.res, &prefix, &after);
    let mut objects = Vec::new();
    let (mut last, mut more) = (None, false);
    // The keys' prefix has chosen the namespace already.
    let takes_all = filter.takes_all();
    for (key, object) in all.by_ref() {
        if !takes_all && !filter.matches(cx.row, object) {
            continue;
        }
        if objects.len() == limit {
            more = true;
            break;
        }
        last = Some(key);
        objects.push(object.clone());
    }
    let continue_token = match last {
        Some(last) if more => page::token(snapshot.revision(), last),
        _ => String::new(),
    };
    let remaining = (more && takes_all).then(|| 1 + all.count());
    Ok(Decision::Answer(
        Reply::List {
            objects,
            revision: snapshot.revision(),
            continue_token,
            remaining,
        },
        Vec::new(),
    ))
}
