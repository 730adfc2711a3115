//! The CEL expressions of rules: that they compile, that they give what is asked of them, and that they cannot cost too
//! much, each alone and all of a schema together. Source: KEP-2876 and upstream's estimates.

use super::found::{At, Found};
use super::schema::Schema;
use super::shown::{self, RULES, quoted};
use cel::{Checked, Decl, Env, STATIC_ESTIMATED_COST_LIMIT, STATIC_ESTIMATED_CRD_COST_LIMIT, Type};
use serde_json::Value;
use std::sync::Arc;

/// As many of the most expensive expressions are told of when all together cost too much.
const EXPENSIVE_MAX: usize = 4;

/// What rules may look at from where they stand.
#[derive(Clone, Copy)]
pub(super) struct Scope {
    /// How often a value of this schema can be in an object at most; without end if lists or maps around it have none.
    cardinality: Option<u64>,
    is_root: bool,
}

impl Scope {
    pub(super) const ROOT: Self = Self {
        cardinality: Some(1),
        is_root: true,
    };

    /// Of the values inside of one with this schema.
    pub(super) fn inside(self, schema: Schema) -> Self {
        let most = |field| {
            let given = schema.given(field).and_then(Value::as_i64);
            given.map(|most| u64::try_from(most).unwrap_or(0))
        };
        let factor = match schema.kind() {
            "object" if schema.additional("additionalProperties").is_some() => most("maxProperties"),
            "array" => most("maxItems"),
            _ => Some(1),
        };
        let product = |(a, b): (u64, u64)| a.saturating_mul(b);
        Self {
            cardinality: self.cardinality.zip(factor).map(product),
            is_root: false,
        }
    }
}

/// What was found out about all expressions of a schema.
#[derive(Default)]
pub(super) struct Expressions {
    pub(super) found: Found,
    unchanged: bool,
    total: u64,
    /// The most expensive ones, with where they stand.
    expensive: Vec<(u64, String)>,
}

impl Expressions {
    /// `unchanged`: the schema is as it was, so one alone may cost what it did before.
    pub(super) fn new(unchanged: bool) -> Self {
        Self {
            unchanged,
            ..Self::default()
        }
    }

    /// Looks at the rules of one node. `uncorrelated`: where the part of the schema begins of which no old value is known.
    pub(super) fn compile(&mut self, schema: Schema, at: &At, scope: Scope, uncorrelated: Option<&At>) {
        let list = at.child(RULES);
        let root = scope.is_root || schema.is("x-kubernetes-embedded-resource");
        let decl = Decl::from_json_schema(&Value::Object(schema.0.clone()), "selfType", root);
        if !decl.is_exposed() {
            let detail = "internal error: failed to construct type information for x-kubernetes-validations rules: unable to convert structural schema to CEL declarations";
            return self.found.internal(&list, detail);
        }
        let decl = Arc::new(decl);
        let env = Env::new().declare("self", &decl);
        let plain = env.clone().variable("oldSelf", decl.cel_type());
        let optional = env.variable("oldSelf", Type::optional(decl.cel_type()));
        for (i, given) in schema.list(RULES).iter().enumerate() {
            if self.found.is_full() {
                return;
            }
            let rule = Schema::of(given);
            let env = if rule.is("optionalOldSelf") {
                &optional
            } else {
                &plain
            };
            let item = list.index(i);
            let seen = Seen {
                decl: &decl,
                env,
                scope,
            };
            let uses_old = self.rule(given, &seen, &item);
            if uses_old && let Some(from) = uncorrelated {
                let detail = format!(
                    "oldSelf cannot be used on the uncorrelatable portion of the schema within {from}"
                );
                let shown = quoted(rule.text("rule"));
                self.found.invalid(&item.child("rule"), shown, &detail);
            } else if let Some(flag) = rule.flag("optionalOldSelf").filter(|_| !uses_old) {
                let detail = "may not be set if oldSelf is not used in rule";
                self.found.invalid(&item.child("optionalOldSelf"), flag, detail);
            }
        }
    }

    /// Looks at one rule; whether it uses the old value.
    fn rule(&mut self, given: &Value, seen: &Seen, at: &At) -> bool {
        let rule = Schema::of(given);
        let rule_at = at.child("rule");
        let checked = seen.check(
            rule.text("rule"),
            &Type::Bool,
            "cel expression must evaluate to a bool",
            "",
        );
        let uses_old = checked.as_ref().is_ok_and(|checked| checked.uses("oldSelf"));
        let cost = match checked.and_then(|checked| seen.cost(&checked, "program")) {
            Ok(cost) => cost,
            Err(why) => {
                self.found.invalid(&rule_at, shown::rule(given), &why);
                return uses_old;
            }
        };
        let often = seen.scope.cardinality;
        let cost = cost.saturating_mul(often.unwrap_or_else(|| seen.decl.max_cardinality()));
        self.limit(&rule_at, "estimated rule cost", cost);
        self.observe(&rule_at, cost);
        let message = rule.text("messageExpression");
        if !message.is_empty() {
            self.message(message, given, seen, &at.child("messageExpression"));
        }
        uses_old
    }

    fn message(&mut self, text: &str, given: &Value, seen: &Seen, at: &At) {
        let (wanted, what) = ("messageExpression must evaluate to a string", "messageExpression");
        let checked = seen.check(text, &Type::String, wanted, "messageExpression ");
        match checked.and_then(|checked| seen.cost(&checked, what)) {
            Ok(cost) => {
                self.limit(at, "estimated messageExpression cost", cost);
                self.observe(at, cost);
            }
            Err(why) => self.found.invalid(at, shown::rule(given), &why),
        }
    }

    fn limit(&mut self, at: &At, what: &str, cost: u64) {
        if !self.unchanged && cost > STATIC_ESTIMATED_COST_LIMIT {
            self.found
                .forbidden(at, &too_much(what, cost, STATIC_ESTIMATED_COST_LIMIT));
        }
    }

    fn observe(&mut self, at: &At, cost: u64) {
        self.total = self.total.saturating_add(cost);
        if cost < STATIC_ESTIMATED_CRD_COST_LIMIT / 100 {
            return;
        }
        self.expensive.push((cost, at.to_string()));
        self.expensive.sort_by_key(|(cost, _)| std::cmp::Reverse(*cost));
        self.expensive.truncate(EXPENSIVE_MAX);
    }

    /// Says so when all expressions together cost too much.
    pub(super) fn limit_total(&self, schema_at: &At, found: &mut Found) {
        if self.total <= STATIC_ESTIMATED_CRD_COST_LIMIT {
            return;
        }
        for (_, at) in &self.expensive {
            let detail =
                "contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema";
            found.forbidden(&At::root(at), detail);
        }
        let what = "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema";
        let detail = too_much(what, self.total, STATIC_ESTIMATED_CRD_COST_LIMIT);
        found.forbidden(schema_at, &detail);
    }
}

/// What an expression can name, and how often it runs.
struct Seen<'a> {
    decl: &'a Arc<Decl>,
    env: &'a Env,
    scope: Scope,
}

impl Seen<'_> {
    /// An expression of this type, or why it is none.
    fn check(&self, text: &str, kind: &Type, other_kind: &str, prefix: &str) -> Result<Checked, String> {
        let checked =
            cel::check(text, self.env).map_err(|why| format!("{prefix}compilation failed: {why}"))?;
        match checked.output() == kind {
            true => Ok(checked),
            false => Err(other_kind.into()),
        }
    }

    /// What an expression costs at most, if it can run at all.
    fn cost(&self, checked: &Checked, what: &str) -> Result<u64, String> {
        let program = checked.program();
        program.map_err(|why| format!("{what} instantiation failed: {why}"))?;
        Ok(checked.estimate(&**self.decl).max)
    }
}

fn too_much(what: &str, cost: u64, limit: u64) -> String {
    // Rounded as upstream's floating point numbers are.
    let factor = cost as f64 / limit as f64;
    let factor = if factor > 100.0 {
        "more than 100x".to_string()
    } else if factor < 1.5 {
        format!("{factor:.6}x")
    } else {
        format!("{factor:.1}x")
    };
    format!(
        "{what} exceeds budget by factor of {factor} (try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)"
    )
}

/// Whether the values of a map can be told from their older selves.
pub(super) fn is_correlatable(schema: Schema) -> bool {
    let kind = schema.given_text("x-kubernetes-map-type");
    kind.is_none_or(|kind| kind == "granular" || kind == "atomic")
}
