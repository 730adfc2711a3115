//! Sets of indexes as jobs write them: `1,3-5,7`. Below the number of completions, and ascending.

/// How many indexes there are, or what is wrong.
pub(super) fn count(text: &str, completions: i64) -> Result<i64, String> {
    let (mut total, mut last) = (0, None);
    if text.is_empty() {
        return Ok(0);
    }
    for part in text.split(',') {
        let (first, end) = interval(part, completions)?;
        if let Some(last) = last.filter(|last| *last >= first) {
            return Err(not_ascending(last, first));
        }
        total += end - first + 1;
        last = Some(end);
    }
    Ok(total)
}

/// What is wrong when an index is in both; parts that are no intervals are told of elsewhere.
pub(super) fn overlap(completed: &str, failed: &str, completions: i64) -> Option<String> {
    if completed.is_empty() || failed.is_empty() {
        return None;
    }
    let read = |text: &str| -> Vec<(i64, i64)> {
        let parts = text.split(',').map(|part| interval(part, completions));
        parts.filter_map(Result::ok).collect()
    };
    let (completed, failed) = (read(completed), read(failed));
    let (mut c, mut f) = (0, 0);
    while let (Some(a), Some(b)) = (completed.get(c), failed.get(f)) {
        if a.0 <= b.1 && b.0 <= a.1 {
            let index = a.0.max(b.0);
            return Some(format!(
                "failedIndexes and completedIndexes overlap at index: {index}"
            ));
        }
        if a.0 <= b.0 {
            c += 1;
        } else {
            f += 1;
        }
    }
    None
}

fn interval(text: &str, completions: i64) -> Result<(i64, i64), String> {
    let limits: Vec<&str> = text.split('-').collect();
    let index = |text: &str| match text.parse::<i64>() {
        Ok(n) if n >= completions => Err(format!("too large index: {text:?}")),
        Ok(n) => Ok(n),
        Err(_) => Err(format!("cannot convert string to integer for index: {text:?}")),
    };
    match limits[..] {
        [one] => index(one).map(|n| (n, n)),
        [first, last] => {
            let (first, last) = (index(first)?, index(last)?);
            if first >= last {
                return Err(not_ascending(first, last));
            }
            Ok((first, last))
        }
        _ => Err(format!(
            "the fragment {text:?} violates the requirement that an index interval can have at most two parts separated by '-'"
        )),
    }
}

fn not_ascending(previous: i64, current: i64) -> String {
    format!("non-increasing order, previous: {previous}, current: {current}")
}
