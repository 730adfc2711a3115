//! The rules of `x-kubernetes-validations` when objects are written: run where they stand, with the older self of each value
//! where one is known, within a budget for the whole object. Source: KEP-2876, KEP-4008 (what is unchanged is let pass).

use super::structure::{Additional, Structure};
use super::validate::same_item;
use crate::customresourcedefinition::rule_path;
use cel::{Budget, Decl, Env, EvalError, Program, Type};
use meta::field::{Cause, Omitted};
use meta::{Errors, Path};
use serde_json::Value;
use std::sync::Arc;

/// A message made by an expression may be this long, in bytes.
const MESSAGE_MAX: usize = 5 * 1024;

/// The rules of a node and of those below it.
pub struct Ruled {
    /// `type`, as messages about the rules themselves name it.
    kind: Box<str>,
    decl: Arc<Decl>,
    rules: Vec<Rule>,
    /// Values in it can be told from their older selves.
    correlatable: bool,
    items: Option<Box<Ruled>>,
    each: Option<Box<Ruled>>,
    properties: Vec<(Box<str>, Ruled)>,
    all_of: Vec<Ruled>,
}

struct Rule {
    program: Result<Program, String>,
    message_program: Option<Program>,
    /// The rule's text, or what it says of itself.
    shown: Box<str>,
    message: Box<str>,
    message_expression: Box<str>,
    reason: Cause,
    /// What it is about, below where it stands.
    path: Option<String>,
    uses_old: bool,
    optional_old: bool,
}

impl Ruled {
    /// The rules of a schema as it was written down; `None` where there are none.
    pub fn read(schema: &Value, root: bool) -> Option<Self> {
        Self::of(schema, schema, root)
    }

    /// `said` has the rules, `node` is what describes the values (they differ inside of `allOf`).
    fn of(said: &Value, node: &Value, root: bool) -> Option<Self> {
        let embedded = |schema: &Value| schema["x-kubernetes-embedded-resource"] == true;
        let inner = |said: Option<&Value>, node: Option<&Value>| {
            let (said, node) = (said?, node?);
            Self::of(said, node, embedded(node)).map(Box::new)
        };
        let properties = said
            .get("properties")
            .and_then(Value::as_object)
            .into_iter()
            .flatten();
        let properties = properties.filter_map(|(name, said)| {
            let ruled = inner(Some(said), node.pointer("/properties").and_then(|p| p.get(name)))?;
            Some((name.as_str().into(), *ruled))
        });
        let properties: Vec<(Box<str>, Self)> = properties.collect();
        let items = inner(said.get("items"), node.get("items"));
        let of = |schema: &'_ Value| {
            schema
                .get("additionalProperties")
                .filter(|p| p.is_object())
                .cloned()
        };
        let each = inner(of(said).as_ref(), of(node).as_ref());
        let all_of = said.get("allOf").and_then(Value::as_array).into_iter().flatten();
        let all_of: Vec<Self> = all_of.filter_map(|part| Self::of(part, node, root)).collect();
        let rules = said.get("x-kubernetes-validations").and_then(Value::as_array);
        let rules: &[Value] = rules.map_or(&[], Vec::as_slice);
        if rules.is_empty() && properties.is_empty() && items.is_none() && each.is_none() && all_of.is_empty()
        {
            return None;
        }
        let decl = Arc::new(Decl::from_json_schema(node, "selfType", root));
        let map_type = node.get("x-kubernetes-map-type").and_then(Value::as_str);
        Some(Self {
            kind: node
                .get("type")
                .and_then(Value::as_str)
                .unwrap_or_default()
                .into(),
            rules: rules.iter().map(|rule| Rule::read(rule, node, &decl)).collect(),
            decl,
            correlatable: map_type.is_none_or(|kind| matches!(kind, "granular" | "atomic")),
            items,
            each,
            properties,
            all_of,
        })
    }
}

impl Rule {
    fn read(rule: &Value, node: &Value, decl: &Arc<Decl>) -> Self {
        let text = |name: &str| rule.get(name).and_then(Value::as_str).unwrap_or_default().trim();
        let optional_old = rule["optionalOldSelf"] == true;
        let env = Env::new().declare("self", decl);
        let env = match optional_old {
            true => env.variable("oldSelf", Type::optional(decl.cel_type())),
            false => env.variable("oldSelf", decl.cel_type()),
        };
        let program = cel::compile(text("rule"), &env).map_err(|why| why.to_string());
        let uses_old = program
            .as_ref()
            .is_ok_and(|program| program.variables().any(|(name, used)| name == "oldSelf" && used));
        let expression = text("messageExpression");
        // It was compiled when the definition was made: it is either none, or it works.
        let message_program = match expression {
            "" => None,
            expression => cel::compile(expression, &env).ok(),
        };
        let path = match text("fieldPath") {
            "" => None,
            path => rule_path(path, node),
        };
        Self {
            program,
            message_program,
            shown: if text("message").is_empty() {
                text("rule")
            } else {
                text("message")
            }
            .into(),
            message: text("message").into(),
            message_expression: expression.into(),
            reason: match text("reason") {
                "FieldValueForbidden" => Cause::Forbidden,
                "FieldValueRequired" => Cause::Required,
                "FieldValueDuplicate" => Cause::Duplicate,
                _ => Cause::Invalid,
            },
            path,
            uses_old,
            optional_old,
        }
    }
}

/// Runs all rules over an object. Those of values that are as they were are let pass.
pub fn validate(
    ruled: &Ruled,
    structure: &Structure,
    object: &Value,
    old: Option<&Value>,
    errors: &mut Errors,
) {
    let mut run = Run {
        budget: Budget::default(),
        errors,
        over: false,
    };
    let same = old == Some(object);
    run.value(
        ruled,
        structure,
        &Path::root(),
        object,
        Older { value: old, same },
    );
}

/// What is known of a value's past.
#[derive(Clone, Copy)]
struct Older<'a> {
    value: Option<&'a Value>,
    /// The value, or the nearest one around it of which that is known, is what it was.
    same: bool,
}

impl<'a> Older<'a> {
    fn member(self, value: Option<&'a Value>, now: &Value) -> Self {
        Self {
            value,
            same: value.map_or(self.same, |old| old == now),
        }
    }
}

struct Run<'e> {
    budget: Budget,
    errors: &'e mut Errors,
    /// Nothing more is run.
    over: bool,
}

impl Run<'_> {
    fn value(&mut self, ruled: &Ruled, structure: &Structure, at: &Path, value: &Value, old: Older) {
        if value.is_null() || self.over {
            return;
        }
        self.rules(ruled, at, value, old);
        for part in &ruled.all_of {
            self.value(part, structure, at, value, old);
        }
        match value {
            Value::Array(items) => {
                let (Some(of), Some(shape)) = (&ruled.items, structure.items.as_deref()) else {
                    return;
                };
                for (i, item) in items.iter().enumerate() {
                    let before = old.value.and_then(|old| same_item(structure, old, item));
                    self.value(of, shape, &at.index(i), item, old.member(before, item));
                }
            }
            Value::Object(map) => {
                for (name, member) in map {
                    let before = old
                        .value
                        .filter(|_| ruled.correlatable)
                        .and_then(|old| old.get(name));
                    let before = old.member(before, member);
                    let place = ruled
                        .properties
                        .binary_search_by(|(own, _)| (**own).cmp(name.as_str()));
                    if let (Ok(i), Some(shape)) = (place, structure.property(name)) {
                        self.value(&ruled.properties[i].1, shape, &at.child(name), member, before);
                    } else if let (Some(of), Additional::Each(shape)) = (&ruled.each, &structure.additional) {
                        self.value(of, shape, &at.key(name), member, before);
                    }
                }
            }
            _ => {}
        }
    }

    fn rules(&mut self, ruled: &Ruled, at: &Path, value: &Value, old: Older) {
        if ruled.rules.is_empty() {
            return;
        }
        let about = |errors: &mut Errors, why: &str| errors.invalid(at, &*ruled.kind, why);
        if self.budget.left() == 0 {
            self.over = true;
            return about(self.errors, &EvalError::BudgetExceeded.to_string());
        }
        let own = match cel::Value::typed(value, &ruled.decl) {
            Ok(own) => own,
            Err(why) => return about(self.errors, &why.to_string()),
        };
        let before = old.value.map(|old| cel::Value::typed(old, &ruled.decl));
        let before = match before.transpose() {
            Ok(before) => before,
            Err(why) => return about(self.errors, &why.to_string()),
        };
        for rule in &ruled.rules {
            let program = match &rule.program {
                Ok(program) => program,
                Err(why) => {
                    about(self.errors, &format!("rule compile error: {why}"));
                    continue;
                }
            };
            if rule.uses_old && before.is_none() && !rule.optional_old {
                continue;
            }
            let older = match rule.optional_old {
                true => cel::Value::optional(before.clone()),
                false => before.clone().unwrap_or(cel::Value::Null),
            };
            let values = [own.clone(), older];
            match program.eval(&values, &mut self.budget) {
                Ok(result) if result.as_bool() == Some(true) => {}
                Ok(_) => self.broken(rule, at, value, &values, old.same && !rule.uses_old),
                Err(why) => {
                    let (text, ends) = failure(&why, &rule.shown);
                    about(self.errors, &text);
                    self.over = ends;
                }
            }
            if self.over {
                return;
            }
        }
    }

    /// A rule that does not hold.
    fn broken(&mut self, rule: &Rule, at: &Path, value: &Value, values: &[cel::Value], passes: bool) {
        let made = rule.message_program.as_ref().map(|program| {
            let text = program.eval(values, &mut self.budget)?;
            Ok(text.as_str().map(|text| text.trim().to_string()))
        });
        let fits = |text: &String| !text.is_empty() && text.len() <= MESSAGE_MAX && !text.contains('\n');
        let made = match made {
            Some(Err(EvalError::CostExceeded)) => {
                self.over = true;
                let why = format!(
                    "no further validation rules will be run due to call cost exceeds limit for messageExpression: {:?}",
                    rule.message_expression
                );
                return self.errors.invalid(at, "", &why);
            }
            Some(Err(EvalError::BudgetExceeded)) => {
                self.over = true;
                let why = "messageExpression evaluation failed due to running out of cost budget, no further validation rules will be run";
                return self.errors.invalid(at, "", why);
            }
            Some(Ok(text)) => text.filter(fits),
            Some(Err(EvalError::Failed(_))) | None => None,
        };
        if passes {
            return;
        }
        let said = made.unwrap_or_else(|| match &*rule.message {
            "" => format!("failed rule: {}", rule.shown),
            message => message.to_string(),
        });
        let field = match &rule.path {
            Some(path) => at.child(path),
            None => at.clone(),
        };
        let bulky = matches!(value, Value::Object(_) | Value::Array(_));
        match rule.reason {
            Cause::Forbidden => self.errors.forbidden(&field, &said),
            Cause::Required => self.errors.required(&field, &said),
            Cause::Duplicate if bulky => self.errors.duplicate(&field, Omitted),
            Cause::Duplicate => self.errors.duplicate(&field, value.clone()),
            _ if bulky => self.errors.invalid(&field, Omitted, &said),
            _ => self.errors.invalid(&field, value.clone(), &said),
        }
    }
}

/// Why a rule could not be run, and whether others are not run either.
fn failure(why: &EvalError, rule: &str) -> (String, bool) {
    match why {
        EvalError::BudgetExceeded => (why.to_string(), true),
        EvalError::CostExceeded => (
            format!(
                "'{why}': no further validation rules will be run due to call cost exceeds limit for rule: {rule}"
            ),
            true,
        ),
        EvalError::Failed(text) if text.starts_with("no such overload") => (
            format!(
                "'{text}': call arguments did not match a supported operator, function or macro signature for rule: {rule}"
            ),
            false,
        ),
        EvalError::Failed(text) => (format!("{text} evaluating rule: {rule}"), false),
    }
}
