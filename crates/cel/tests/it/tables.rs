//! Each line of `tables/*.txt` is an expression; the golden file says its value or error, what it cost and what it was
//! estimated to cost. The object, its schema and its former state are in `object.json`.

use cel::{Budget, Decl, Env, Type, Value, check};
use serde_json::Value as Json;
use std::fmt::Write;
use std::sync::Arc;

/// A value as goldens show it: with its type where its text does not say it.
pub fn show(value: &Value<'_>) -> String {
    match value {
        Value::String(text) => format!("{:?}", &**text),
        Value::Uint(number) => format!("{number}u"),
        Value::Double(_) => format!("double({value})"),
        Value::Bytes(bytes) => format!("bytes({:02x?})", &bytes[..]),
        Value::Duration(duration) => format!("duration({duration})"),
        Value::Timestamp(time) => format!("timestamp({time})"),
        Value::Optional(None) => "none".to_string(),
        Value::Optional(Some(value)) => format!("optional({})", show(value)),
        Value::Type(kind) => format!("type({})", kind.runtime_name()),
        Value::List(list) => {
            let items: Vec<String> = list
                .iter()
                .map(|item| item.map_or_else(|e| e.to_string(), |v| show(&v)))
                .collect();
            format!("[{}]", items.join(", "))
        }
        Value::Map(map) => {
            let pair = |(key, value): (Value<'_>, Value<'_>)| format!("{}: {}", show(&key), show(&value));
            let pairs: Vec<String> = map
                .pairs()
                .map(|entry| entry.map_or_else(|e| e.to_string(), pair))
                .collect();
            format!("{{{}}}", pairs.join(", "))
        }
        Value::Ip(ip) => format!("ip({ip})"),
        Value::Cidr(cidr) => format!("cidr({cidr})"),
        other => other.to_string(),
    }
}

pub struct World {
    pub env: Env,
    pub decl: Arc<Decl>,
    object: Json,
    old: Json,
}

impl World {
    pub fn new() -> Self {
        let input: Json = serde_json::from_str(include_str!("object.json")).expect("object.json is JSON");
        let decl = Arc::new(Decl::from_json_schema(&input["Schema"], "selfType", false));
        let optional = Type::optional(decl.cel_type());
        let env = Env::new()
            .declare("self", &decl)
            .variable("oldSelf", optional)
            .variable("any", Type::Dyn);
        let env = env.bindings().patches();
        Self {
            env,
            decl,
            object: input["Object"].clone(),
            old: input["Old"].clone(),
        }
    }

    pub fn vars(&self) -> [Value<'_>; 3] {
        let typed = |json| Value::typed(json, &self.decl).expect("the object fits its schema");
        [
            typed(&self.object),
            Value::optional(Some(typed(&self.old))),
            Value::dynamic(&self.object),
        ]
    }

    pub fn run(&self, text: &str) -> String {
        let checked = match check(text, &self.env) {
            Ok(checked) => checked,
            Err(errors) => return format!("  {}\n", errors.to_string().replace('\n', "\n  ")),
        };
        let program = match checked.program() {
            Ok(program) => program,
            Err(error) => return format!("  program instantiation failed: {error}\n"),
        };
        let estimate = checked.estimate(&*self.decl);
        let mut budget = Budget::default();
        let result = match program.eval(&self.vars(), &mut budget) {
            Ok(value) => show(&value),
            Err(error) => format!("error: {error}"),
        };
        let cost = budget.last_cost();
        let max = if estimate.max == u64::MAX {
            "max".to_string()
        } else {
            estimate.max.to_string()
        };
        format!(
            "  => {result}\n  {}, cost {cost}, estimated {}..{max}\n",
            checked.output(),
            estimate.min
        )
    }
}

fn table(name: &str, lines: &str) {
    let world = World::new();
    let mut out = String::new();
    for line in lines.lines().filter(|line| !line.trim().is_empty()) {
        let _infallible = writeln!(out, "{line}\n{}", world.run(line).trim_end_matches('\n'));
    }
    insta::assert_snapshot!(name, out);
}

#[test]
fn operators() {
    table("operators", include_str!("tables/operators.txt"));
}

#[test]
fn literals() {
    table("literals", include_str!("tables/literals.txt"));
}

#[test]
fn conversions() {
    table("conversions", include_str!("tables/conversions.txt"));
}

#[test]
fn time() {
    table("time", include_str!("tables/time.txt"));
}

#[test]
fn strings() {
    table("strings", include_str!("tables/strings.txt"));
}

#[test]
fn lists() {
    table("lists", include_str!("tables/lists.txt"));
}

#[test]
fn optionals() {
    table("optionals", include_str!("tables/optionals.txt"));
}

#[test]
fn kubernetes() {
    table("kubernetes", include_str!("tables/kubernetes.txt"));
}

#[test]
fn fields() {
    table("fields", include_str!("tables/fields.txt"));
}

#[test]
fn errors() {
    table("errors", include_str!("tables/errors.txt"));
}

#[test]
fn syntax() {
    table("syntax", include_str!("tables/syntax.txt"));
}
