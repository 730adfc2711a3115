//! Values against their schema, in the words of the validator that upstream uses: all that is wrong, with the path of each.
//! Of `anyOf` and `oneOf` the alternative that fits most tells what it misses. Source: OpenAPI v3 as KEP-693 restricts it.

use super::formats;
use super::number;
use super::structure::{Additional, Kind, Structure, flag};
use meta::schema::ListType;
use meta::{Errors, Path};
use regex_lite::Regex;
use serde_json::{Map, Value};

/// What a node asks of values beyond their type.
#[derive(Debug, Default)]
pub struct Checks {
    pub format: Box<str>,
    pub maximum: Option<f64>,
    pub exclusive_maximum: bool,
    pub minimum: Option<f64>,
    pub exclusive_minimum: bool,
    pub multiple_of: Option<f64>,
    pub max_length: Option<i64>,
    pub min_length: Option<i64>,
    pub pattern: Option<Pattern>,
    pub max_items: Option<i64>,
    pub min_items: Option<i64>,
    pub unique_items: bool,
    pub max_properties: Option<i64>,
    pub min_properties: Option<i64>,
    pub required: Vec<Box<str>>,
    pub any_of: Vec<Structure>,
    pub one_of: Vec<Structure>,
    pub all_of: Vec<Structure>,
    pub not: Option<Structure>,
    pub allowed: Vec<Value>,
}

/// A pattern as it was written; one that this engine cannot read matches nothing and says so.
#[derive(Debug)]
pub struct Pattern {
    text: Box<str>,
    matcher: Result<Regex, String>,
}

/// How large a compiled pattern may become, in bytes.
const PATTERN_SIZE_MAX: usize = 1 << 20;

/// How many problems of one object are told of.
const PROBLEMS_MAX: usize = 1000;

impl Pattern {
    fn new(text: &str) -> Self {
        let matcher = regex_lite::RegexBuilder::new(text)
            .size_limit(PATTERN_SIZE_MAX)
            .build();
        Self {
            text: text.into(),
            matcher: matcher.map_err(|error| error.to_string()),
        }
    }
}

impl Checks {
    /// `None` where nothing is asked for.
    pub fn read(schema: &Map<String, Value>) -> Option<Self> {
        const NAMES: [&str; 19] = [
            "format",
            "maximum",
            "minimum",
            "multipleOf",
            "maxLength",
            "minLength",
            "pattern",
            "maxItems",
            "minItems",
            "uniqueItems",
            "maxProperties",
            "minProperties",
            "required",
            "anyOf",
            "oneOf",
            "allOf",
            "not",
            "enum",
            "exclusiveMaximum",
        ];
        if !NAMES.iter().any(|name| schema.contains_key(*name)) {
            return None;
        }
        let float = |name: &str| schema.get(name).and_then(Value::as_f64);
        let int = |name: &str| schema.get(name).and_then(Value::as_i64);
        let list = |name: &str| schema.get(name).and_then(Value::as_array).into_iter().flatten();
        let each = |name: &str| list(name).map(Structure::read).collect();
        let pattern = schema
            .get("pattern")
            .and_then(Value::as_str)
            .filter(|p| !p.is_empty());
        let format = schema.get("format").and_then(Value::as_str).unwrap_or_default();
        let kind = schema.get("type").and_then(Value::as_str).unwrap_or_default();
        Some(Self {
            format: formats::supported(kind, format).into(),
            maximum: float("maximum"),
            exclusive_maximum: flag(schema, "exclusiveMaximum"),
            minimum: float("minimum"),
            exclusive_minimum: flag(schema, "exclusiveMinimum"),
            multiple_of: float("multipleOf"),
            max_length: int("maxLength"),
            min_length: int("minLength"),
            pattern: pattern.map(Pattern::new),
            max_items: int("maxItems"),
            min_items: int("minItems"),
            unique_items: flag(schema, "uniqueItems"),
            max_properties: int("maxProperties"),
            min_properties: int("minProperties"),
            required: list("required")
                .filter_map(Value::as_str)
                .map(Into::into)
                .collect(),
            any_of: each("anyOf"),
            one_of: each("oneOf"),
            all_of: each("allOf"),
            not: schema.get("not").filter(|n| n.is_object()).map(Structure::read),
            allowed: list("enum").cloned().collect(),
        })
    }
}

/// All that is wrong with a value. What an update leaves as it was is let pass.
pub fn validate(structure: &Structure, at: &Path, value: &Value, old: Option<&Value>, errors: &mut Errors) {
    let root = Spot {
        structure,
        path: String::new(),
        old,
        top: true,
    };
    for problem in root.forgiving(value).problems {
        problem.tell(at, errors);
    }
}

/// One thing that is wrong.
#[derive(Debug)]
pub(super) struct Problem {
    /// As upstream's validator has it: with a dot in front where the path begins at the root of some fields.
    path: String,
    why: Why,
}

#[derive(Debug)]
pub(super) enum Why {
    Required,
    NotSupported(Value, Vec<String>),
    TooLong(i64),
    TooMany(usize, i64),
    Type(Value, String),
    Invalid(Value, String),
    /// Of the object as a whole: of the alternatives none or too many fit.
    Whole(String),
}

impl Problem {
    fn tell(self, at: &Path, errors: &mut Errors) {
        let name = self.path.trim_start_matches('.');
        let field = if name.is_empty() {
            at.clone()
        } else {
            at.child(name)
        };
        match self.why {
            Why::Required => errors.required(&field, ""),
            Why::NotSupported(value, list) => {
                let list: Vec<&str> = list.iter().map(String::as_str).collect();
                errors.not_supported(&field, value, &list);
            }
            Why::TooLong(limit) => errors.too_long(&field, limit.max(0) as usize),
            Why::TooMany(actual, limit) => errors.too_many(&field, actual, limit.max(0) as usize),
            Why::Type(value, text) => errors.type_invalid(&field, value, &text),
            Why::Invalid(value, text) => errors.invalid(&field, value, &text),
            Why::Whole(text) => errors.invalid(at, "", &text),
        }
    }

    fn same(&self, other: &Self) -> bool {
        let text = |why: &Why| match why {
            Why::Required => "required".to_string(),
            Why::NotSupported(_, list) => list.join(","),
            Why::TooLong(limit) => format!("long {limit}"),
            Why::TooMany(_, limit) => format!("many {limit}"),
            Why::Type(_, text) | Why::Invalid(_, text) | Why::Whole(text) => text.clone(),
        };
        self.path == other.path && text(&self.why) == text(&other.why)
    }
}

/// What came of a check: problems, and how much fitted, by which alternatives are compared.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub problems: Vec<Problem>,
    pub fits: usize,
}

impl Outcome {
    fn merge(&mut self, other: Self) {
        self.fits += other.fits;
        other.problems.into_iter().for_each(|p| self.add(p));
    }

    fn add(&mut self, problem: Problem) {
        let full = self.problems.len() >= PROBLEMS_MAX;
        if !full && !self.problems.iter().any(|known| known.same(&problem)) {
            self.problems.push(problem);
        }
    }

    fn is_valid(&self) -> bool {
        self.problems.is_empty()
    }
}

/// A node at a place.
struct Spot<'a> {
    structure: &'a Structure,
    path: String,
    /// What stood there before, as far as it can be told.
    old: Option<&'a Value>,
    /// The object itself, whose type is never let pass.
    top: bool,
}

impl<'a> Spot<'a> {
    /// `check`, but that what was the same before is let pass.
    fn forgiving(&self, value: &Value) -> Outcome {
        let outcome = self.check(value);
        if !outcome.is_valid() && self.old == Some(value) {
            return Outcome {
                problems: Vec::new(),
                fits: outcome.fits,
            };
        }
        outcome
    }

    fn problem(&self, why: Why) -> Problem {
        Problem {
            path: self.path.clone(),
            why,
        }
    }

    fn invalid(&self, value: impl Into<Value>, said: &str) -> Problem {
        self.problem(Why::Invalid(
            value.into(),
            format!("{} in body {said}", self.path),
        ))
    }

    fn check(&self, value: &Value) -> Outcome {
        let mut out = Outcome::default();
        if value.is_null() {
            out.merge(self.of_type(value));
            out.merge(self.among_allowed(value));
            return out;
        }
        let format = self.structure.checks.as_ref().map_or("", |c| &c.format);
        let mut count = |outcome: Outcome| {
            out.merge(outcome);
            out.fits += 1;
        };
        if self.structure.kind != Kind::Any || !format.is_empty() {
            count(self.of_type(value));
        }
        count(self.combined(value));
        match value {
            Value::String(text) => {
                count(self.of_text(text));
                if formats::is_known(format) {
                    count(self.of_format(text, format));
                }
            }
            Value::Number(n) => count(self.of_number(n)),
            Value::Array(items) => count(self.of_items(items)),
            _ => {}
        }
        count(self.among_allowed(value));
        if let Value::Object(map) = value {
            count(self.of_members(map));
        }
        out.fits += 1;
        out
    }

    fn of_type(&self, value: &Value) -> Outcome {
        let kind = self.structure.kind;
        let fits = Outcome {
            fits: 1,
            ..Outcome::default()
        };
        let fails = |wanted: &str, found: &str| {
            let text = format!("{} in body must be of type {wanted}: {found:?}", self.path);
            Outcome {
                problems: vec![self.problem(Why::Type(found.into(), text))],
                fits: 0,
            }
        };
        if value.is_null() {
            return match kind == Kind::Any || self.structure.nullable {
                true => fits,
                false => fails(kind.name(), "null"),
            };
        }
        let format = self.structure.checks.as_ref().map_or("", |c| &c.format);
        let numeric = matches!(kind, Kind::Integer | Kind::Number | Kind::IntOrString);
        if !numeric && !format.is_empty() && matches!(value, Value::String(_) | Value::Array(_)) {
            return fits;
        }
        let (found, own_format) = match value {
            Value::Null => ("null", ""),
            Value::Bool(_) => ("boolean", ""),
            Value::String(_) => ("string", ""),
            Value::Array(_) => ("array", ""),
            Value::Object(_) => ("object", ""),
            Value::Number(n) if n.is_i64() => ("integer", "int64"),
            Value::Number(_) => ("number", "float64"),
        };
        let whole = found == "number" && value.as_f64().is_some_and(number::is_whole);
        let matches = match kind {
            Kind::IntOrString => matches!(found, "integer" | "string") || whole,
            Kind::Integer => found == "integer" || whole,
            Kind::Number => matches!(found, "integer" | "number"),
            other => other.name() == found,
        };
        match () {
            () if matches => fits,
            () if !format.is_empty() && !matches!(value, Value::String(_) | Value::Array(_)) => {
                match own_format == format {
                    true => fails(kind.name(), found),
                    false => fails(format, own_format),
                }
            }
            () => fails(kind.name(), found),
        }
    }

    /// `anyOf`, `oneOf`, `allOf` and `not`.
    fn combined(&self, value: &Value) -> Outcome {
        let mut out = Outcome::default();
        let Some(checks) = &self.structure.checks else {
            out.fits += 1;
            return out;
        };
        let quoted = format!("{:?}", self.path);
        let whole = |said: String| self.problem(Why::Whole(format!("{quoted} {said}")));
        let try_one = |structure: &Structure| self.instead(structure).check(value);
        self.any_of(&checks.any_of, &mut out, &try_one, &whole);
        self.one_of(&checks.one_of, &mut out, &try_one, &whole);
        let mut valid = 0;
        for outcome in checks.all_of.iter().map(try_one) {
            valid += usize::from(outcome.is_valid());
            out.merge(outcome);
        }
        if valid != checks.all_of.len() {
            let none = if valid == 0 { ". None validated" } else { "" };
            out.add(whole(format!("must validate all the schemas (allOf){none}")));
        }
        if checks.not.as_ref().is_some_and(|not| try_one(not).is_valid()) {
            out.add(whole("must not validate the schema (not)".into()));
        }
        out.fits += 1;
        out
    }

    fn any_of(
        &self,
        list: &[Structure],
        out: &mut Outcome,
        try_one: &dyn Fn(&Structure) -> Outcome,
        whole: &dyn Fn(String) -> Problem,
    ) {
        let mut best: Option<Outcome> = None;
        for outcome in list.iter().map(try_one) {
            if outcome.is_valid() {
                return out.merge(outcome);
            }
            if best.as_ref().is_none_or(|best| outcome.fits > best.fits) {
                best = Some(outcome);
            }
        }
        if let Some(best) = best {
            out.add(whole("must validate at least one schema (anyOf)".into()));
            out.merge(best);
        }
    }

    fn one_of(
        &self,
        list: &[Structure],
        out: &mut Outcome,
        try_one: &dyn Fn(&Structure) -> Outcome,
        whole: &dyn Fn(String) -> Problem,
    ) {
        if list.is_empty() {
            return;
        }
        let (mut best, mut first, mut valid): (Option<Outcome>, Option<Outcome>, _) = (None, None, 0);
        for outcome in list.iter().map(try_one) {
            if outcome.is_valid() {
                valid += 1;
                best = None;
                first.get_or_insert(outcome);
            } else if valid == 0 && best.as_ref().is_none_or(|best| outcome.fits > best.fits) {
                best = Some(outcome);
            }
        }
        if let (1, Some(first)) = (valid, first) {
            return out.merge(first);
        }
        let found = match valid {
            0 => "Found none valid".to_string(),
            n => format!("Found {n} valid alternatives"),
        };
        out.add(whole(format!(
            "must validate one and only one schema (oneOf). {found}"
        )));
        if let Some(best) = best {
            out.merge(best);
        }
    }

    /// Another schema at this place.
    fn instead<'b>(&self, structure: &'b Structure) -> Spot<'b>
    where
        'a: 'b,
    {
        Spot {
            structure,
            path: self.path.clone(),
            old: self.old,
            top: self.top,
        }
    }

    fn of_text(&self, text: &str) -> Outcome {
        let mut out = Outcome::default();
        let Some(checks) = &self.structure.checks else {
            return out;
        };
        let length = text.chars().count() as i64;
        if let Some(limit) = checks.max_length.filter(|limit| length > *limit) {
            out.add(self.problem(Why::TooLong(limit)));
        } else if let Some(limit) = checks.min_length.filter(|limit| length < *limit) {
            out.add(self.invalid(text, &format!("should be at least {limit} chars long")));
        } else if let Some(pattern) = &checks.pattern {
            match &pattern.matcher {
                Ok(matcher) if matcher.is_match(text) => {}
                Ok(_) => out.add(self.invalid(text, &format!("should match '{}'", pattern.text))),
                Err(why) => {
                    let shown = format!("{}, but pattern is invalid: {why}", pattern.text);
                    out.add(self.invalid(text, &format!("should match '{shown}'")));
                }
            }
        }
        out
    }

    fn of_format(&self, text: &str, format: &str) -> Outcome {
        let mut out = Outcome::default();
        if !formats::fits(format, text) {
            let said = format!("{} in body must be of type {format}: {text:?}", self.path);
            out.add(self.problem(Why::Type(text.into(), said)));
        }
        out
    }

    fn of_number(&self, n: &serde_json::Number) -> Outcome {
        let mut out = Outcome {
            fits: 1,
            ..Outcome::default()
        };
        let Some(checks) = &self.structure.checks else {
            return out;
        };
        for said in number::problems(checks, self.structure.kind, n, &self.path) {
            out.add(match said {
                number::Said::OfValue(text) => self.invalid(n.clone(), &text),
                number::Said::OfRange(text) => self.problem(Why::Whole(text)),
            });
        }
        out
    }

    fn of_items(&self, items: &[Value]) -> Outcome {
        let mut out = Outcome::default();
        if let Some(of) = self.structure.items.as_deref() {
            for (i, item) in items.iter().enumerate() {
                let spot = Spot {
                    structure: of,
                    path: format!("{}[{i}]", self.path),
                    old: self.old.and_then(|old| same_item(self.structure, old, item)),
                    top: false,
                };
                out.merge(spot.forgiving(item));
            }
        }
        if let Some(checks) = &self.structure.checks {
            let size = items.len();
            if let Some(limit) = checks.min_items.filter(|limit| (size as i64) < *limit) {
                out.add(self.invalid(size, &format!("should have at least {limit} items")));
            }
            if let Some(limit) = checks.max_items.filter(|limit| size as i64 > *limit) {
                out.add(self.problem(Why::TooMany(size, limit)));
            }
            let repeats = |(i, item): (usize, &Value)| items[..i].contains(item);
            if checks.unique_items && items.iter().enumerate().any(repeats) {
                out.add(self.invalid("", "shouldn't contain duplicates"));
            }
        }
        out.fits += 1;
        out
    }

    fn among_allowed(&self, value: &Value) -> Outcome {
        let mut out = Outcome::default();
        let allowed = self.structure.checks.as_ref().map_or(&[][..], |c| &c.allowed);
        let equal = |one: &Value| one == value || (one.is_number() && one.as_f64() == value.as_f64());
        if !allowed.is_empty() && !allowed.iter().any(equal) {
            let texts = allowed.iter().map(|one| match one {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            });
            out.add(self.problem(Why::NotSupported(value.clone(), texts.collect())));
        }
        out
    }

    fn of_members(&self, map: &Map<String, Value>) -> Outcome {
        let mut out = Outcome::default();
        let structure = self.structure;
        if let Some(checks) = &structure.checks {
            let size = map.len();
            if let Some(limit) = checks.min_properties.filter(|limit| (size as i64) < *limit) {
                out.add(self.invalid(size, &format!("should have at least {limit} properties")));
            }
            if let Some(limit) = checks.max_properties.filter(|limit| size as i64 > *limit) {
                out.add(self.problem(Why::TooMany(size, limit)));
            }
        }
        for (name, member) in map {
            let path = match (structure.property(name), &structure.additional) {
                (Some(_), _) if self.path.is_empty() => name.clone(),
                (Some(_), _) | (None, Additional::Each(_)) => format!("{}.{name}", self.path),
                (None, Additional::Nothing) => {
                    let text = format!("{}.{name} in body is a forbidden property", self.path);
                    out.add(self.problem(Why::Invalid(name.as_str().into(), text)));
                    continue;
                }
                (None, _) => continue,
            };
            let Some(of) = structure.member(name) else {
                continue;
            };
            let typed = self.top && matches!(name.as_str(), "kind" | "apiVersion");
            let spot = Spot {
                structure: of,
                path,
                old: self.old.filter(|_| !typed).and_then(|old| old.get(name)),
                top: false,
            };
            out.merge(spot.forgiving(member));
        }
        for name in structure.checks.iter().flat_map(|c| &c.required) {
            if !map.contains_key(&**name) {
                out.add(Problem {
                    path: format!("{}.{name}", self.path),
                    why: Why::Required,
                });
            }
        }
        out
    }
}

/// The item of an old list that is known to be the same one: lists of objects with keys tell.
pub(super) fn same_item<'a>(structure: &Structure, old: &'a Value, item: &Value) -> Option<&'a Value> {
    let ListType::Map(keys) = &structure.list else {
        return None;
    };
    let of = structure.items.as_deref();
    let key = |item: &Value, name: &str| {
        let given = item.get(name).cloned();
        given.or_else(|| of?.property(name)?.default.clone())
    };
    let mut same = old
        .as_array()?
        .iter()
        .filter(|one| keys.iter().all(|k| key(one, k) == key(item, k)));
    let found = same.next()?;
    // Keys that are there twice name nothing.
    same.next().is_none().then_some(found)
}
