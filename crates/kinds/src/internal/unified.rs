//! The unified difference of two texts, as Python's difflib makes it: the longest run of lines that both have, then the
//! same before and after it, with three lines around each change.

use std::collections::HashMap;

const CONTEXT: usize = 3;
/// From so many lines on, lines that are found often do not begin a run.
const POPULAR_FROM: usize = 200;

/// A run of lines that both have: where it starts in each, and how long it is.
#[derive(Clone, Copy)]
struct Run {
    a: usize,
    b: usize,
    size: usize,
}

/// A stretch of both texts; equal lines, or what stands for what.
#[derive(Clone, Copy)]
struct Step {
    equal: bool,
    a: (usize, usize),
    b: (usize, usize),
}

pub(super) fn difference(a: &str, b: &str) -> String {
    let (a, b): (Vec<&str>, Vec<&str>) = (a.split('\n').collect(), b.split('\n').collect());
    let mut out = String::new();
    for group in groups(steps(&a, &b)) {
        let (Some(first), Some(last)) = (group.first(), group.last()) else {
            continue;
        };
        let (of_a, of_b) = (range(first.a.0, last.a.1), range(first.b.0, last.b.1));
        out += &format!("@@ -{of_a} +{of_b} @@\n");
        for step in &group {
            let mut lines = |mark: char, lines: &[&str]| {
                lines.iter().for_each(|line| out += &format!("{mark}{line}\n"));
            };
            if step.equal {
                lines(' ', &a[step.a.0..step.a.1]);
            } else {
                lines('-', &a[step.a.0..step.a.1]);
                lines('+', &b[step.b.0..step.b.1]);
            }
        }
    }
    out
}

/// Lines count from one; an empty range stands at the line before it.
fn range(start: usize, stop: usize) -> String {
    match stop - start {
        1 => (start + 1).to_string(),
        0 => format!("{start},0"),
        length => format!("{},{length}", start + 1),
    }
}

/// The places in `b` of each line of `a`; none of those that `b` has too often.
fn places<'b>(a: &[&str], b: &[&'b str]) -> Vec<Vec<usize>> {
    let mut of: HashMap<&'b str, Vec<usize>> = HashMap::new();
    for (j, line) in b.iter().copied().enumerate() {
        of.entry(line).or_default().push(j);
    }
    if b.len() >= POPULAR_FROM {
        let most = b.len() / 100 + 1;
        of.retain(|_, at| at.len() <= most);
    }
    a.iter()
        .map(|line| of.get(line).cloned().unwrap_or_default())
        .collect()
}

fn runs(a: &[&str], b: &[&str]) -> Vec<Run> {
    let places = places(a, b);
    // Stretches whose longest run is still to be found; each splits at its run, so that they end.
    let mut todo = vec![(0, a.len(), 0, b.len())];
    let mut found = Vec::new();
    while let Some((a_low, a_high, b_low, b_high)) = todo.pop() {
        let run = longest(a, b, &places, (a_low, a_high), (b_low, b_high));
        if run.size == 0 {
            continue;
        }
        found.push(run);
        if a_low < run.a && b_low < run.b {
            todo.push((a_low, run.a, b_low, run.b));
        }
        if run.a + run.size < a_high && run.b + run.size < b_high {
            todo.push((run.a + run.size, a_high, run.b + run.size, b_high));
        }
    }
    found.sort_by_key(|run| run.a);
    let mut joined: Vec<Run> = Vec::new();
    for run in found {
        match joined.last_mut() {
            Some(last) if last.a + last.size == run.a && last.b + last.size == run.b => last.size += run.size,
            _ => joined.push(run),
        }
    }
    joined
}

/// The first of the longest runs within both stretches.
fn longest(
    a: &[&str],
    b: &[&str],
    places: &[Vec<usize>],
    (a_low, a_high): (usize, usize),
    (b_low, b_high): (usize, usize),
) -> Run {
    let mut best = Run {
        a: a_low,
        b: b_low,
        size: 0,
    };
    // How long the runs are that end with the line of `a` before, by their last place in `b`; both in order.
    let mut before: Vec<(usize, usize)> = Vec::new();
    for (i, places) in places.iter().enumerate().take(a_high).skip(a_low) {
        let mut now = Vec::new();
        let mut ended = before.iter().peekable();
        for j in places.iter().copied().filter(|j| (b_low..b_high).contains(j)) {
            while ended.next_if(|(at, _)| at + 1 < j).is_some() {}
            let size = ended
                .next_if(|(at, _)| at + 1 == j)
                .map_or(1, |(_, size)| size + 1);
            now.push((j, size));
            if size > best.size {
                best = Run {
                    a: i + 1 - size,
                    b: j + 1 - size,
                    size,
                };
            }
        }
        before = now;
    }
    while best.a > a_low && best.b > b_low && a[best.a - 1] == b[best.b - 1] {
        best = Run {
            a: best.a - 1,
            b: best.b - 1,
            size: best.size + 1,
        };
    }
    while best.a + best.size < a_high
        && best.b + best.size < b_high
        && a[best.a + best.size] == b[best.b + best.size]
    {
        best.size += 1;
    }
    best
}

fn steps(a: &[&str], b: &[&str]) -> Vec<Step> {
    let end = Run {
        a: a.len(),
        b: b.len(),
        size: 0,
    };
    let (mut i, mut j, mut out) = (0, 0, Vec::new());
    for run in runs(a, b).into_iter().chain([end]) {
        if i < run.a || j < run.b {
            out.push(Step {
                equal: false,
                a: (i, run.a),
                b: (j, run.b),
            });
        }
        (i, j) = (run.a + run.size, run.b + run.size);
        if run.size > 0 {
            out.push(Step {
                equal: true,
                a: (run.a, i),
                b: (run.b, j),
            });
        }
    }
    out
}

/// Changes with the lines around them; far ones stand apart.
fn groups(mut steps: Vec<Step>) -> Vec<Vec<Step>> {
    if let Some(first) = steps.first_mut().filter(|s| s.equal) {
        first.a.0 = first.a.0.max(first.a.1.saturating_sub(CONTEXT));
        first.b.0 = first.b.0.max(first.b.1.saturating_sub(CONTEXT));
    }
    if let Some(last) = steps.last_mut().filter(|s| s.equal) {
        last.a.1 = last.a.1.min(last.a.0 + CONTEXT);
        last.b.1 = last.b.1.min(last.b.0 + CONTEXT);
    }
    let (mut out, mut group) = (Vec::new(), Vec::new());
    for mut step in steps {
        if step.equal && step.a.1 - step.a.0 > 2 * CONTEXT {
            group.push(Step {
                equal: true,
                a: (step.a.0, step.a.1.min(step.a.0 + CONTEXT)),
                b: (step.b.0, step.b.1.min(step.b.0 + CONTEXT)),
            });
            out.push(std::mem::take(&mut group));
            step.a.0 = step.a.1 - CONTEXT;
            step.b.0 = step.b.1 - CONTEXT;
        }
        group.push(step);
    }
    if group.iter().any(|s| !s.equal) {
        out.push(group);
    }
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn lines_that_differ_stand_among_three_that_do_not() {
        let text = |change: &str| {
            let lines = (0..30).map(|n| {
                if n == 9 || n == 20 {
                    change.into()
                } else {
                    n.to_string()
                }
            });
            lines.collect::<Vec<_>>().join("\n")
        };
        let around = |head: &str, before: [&str; 3], after: [&str; 3]| {
            let same = |lines: [&str; 3]| lines.map(|line| format!(" {line}\n")).concat();
            format!("{head}\n{}-old\n+new\n{}", same(before), same(after))
        };
        let wanted = around("@@ -7,7 +7,7 @@", ["6", "7", "8"], ["10", "11", "12"])
            + &around("@@ -18,7 +18,7 @@", ["17", "18", "19"], ["21", "22", "23"]);
        assert_eq!(super::difference(&text("old"), &text("new")), wanted);
        assert_eq!(super::difference("a\nb", "a\nb"), "");
    }
}
