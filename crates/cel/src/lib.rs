//! CEL as Kubernetes v1.36 uses it: the expressions of CRD validation rules, admission policies, match conditions and
//! device selectors. Parser, type checker, cost estimate, and an interpreter that counts costs and stops at a limit.
//!
//! ```
//! use cel::{Budget, Decl, Env, compile, Value};
//! use std::sync::Arc;
//!
//! let schema = serde_json::json!({"type": "object", "properties": {"replicas": {"type": "integer"}}});
//! let decl = Arc::new(Decl::from_json_schema(&schema, "self", false));
//! let env = Env::new().declare("self", &decl);
//! let program = compile("self.replicas < 5", &env)?;
//! let object = serde_json::json!({"replicas": 3});
//! let value = program.eval(&[Value::typed(&object, &decl)?], &mut Budget::default())?;
//! assert_eq!(value.as_bool(), Some(true));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod amount;
mod ast;
mod authz;
mod check;
mod compare;
mod convert;
mod decl;
mod declare;
mod env;
mod escape;
mod estimate;
mod estimate_calls;
mod eval;
mod format;
mod functions;
mod grammar;
mod ip;
mod lexer;
mod list;
mod lists;
mod literal;
mod macros;
mod map;
mod parser;
mod patch;
mod pattern;
mod price;
mod print;
mod program;
mod quantity;
mod semver;
mod source;
mod strings;
mod time;
mod types;
mod unify;
mod url;
mod validate;
mod value;
mod view;

pub use authz::{Asked, Authorizer, Decision, ResourceAsked};
pub use decl::Decl;
pub use env::Env;
pub use escape::{escape, unescape};
pub use estimate::{Estimate, Sizes};
pub use list::List;
pub use map::{Fields, Map};
pub use source::{CompileError, CompileErrors, Location};
pub use time::{Duration, Timestamp};
pub use types::Type;
pub use value::{EvalError, Struct, Text, Value};

use std::sync::Arc;

/// What one evaluation may cost. Source: apiserver `pkg/apis/cel/config.go`.
pub const PER_CALL_LIMIT: u64 = 1_000_000;
/// What all rules of one object may cost together.
pub const RUNTIME_BUDGET: u64 = 10_000_000;
/// What one rule may be estimated to cost at most.
pub const STATIC_ESTIMATED_COST_LIMIT: u64 = 10_000_000;
/// What all rules of a CRD may be estimated to cost together.
pub const STATIC_ESTIMATED_CRD_COST_LIMIT: u64 = 100_000_000;

/// An expression that can be run, as often as one likes and from several threads. It keeps nothing of its text.
pub struct Program {
    root: program::Node,
    output: Type,
    vars: Vec<Arc<str>>,
    used: Vec<bool>,
}

/// A checked expression: its type and its estimated cost can be asked for before it becomes a program.
pub struct Checked {
    inner: check::Checked,
    env: Env,
}

/// What evaluations may still cost. One evaluation has a limit of its own, all of them together another one.
#[derive(Debug, Clone)]
pub struct Budget {
    per_call: u64,
    left: u64,
    last: u64,
}

impl Default for Budget {
    fn default() -> Self {
        Self::new(PER_CALL_LIMIT, RUNTIME_BUDGET)
    }
}

impl Budget {
    pub fn new(per_call: u64, total: u64) -> Self {
        Self {
            per_call,
            left: total,
            last: 0,
        }
    }

    /// What is left for further evaluations.
    pub fn left(&self) -> u64 {
        self.left
    }

    /// What the last evaluation cost.
    pub fn last_cost(&self) -> u64 {
        self.last
    }
}

/// Reads and checks an expression.
pub fn check(text: &str, env: &Env) -> Result<Checked, CompileErrors> {
    let source = source::Source::new(text);
    let mut errors = source::Errors::default();
    let parsed = parser::parse(&source, &mut errors, env.has_bindings());
    let checked = parsed.and_then(|parsed| check::check(parsed, &source, env, &mut errors));
    match checked {
        Some(inner) if errors.is_empty() => Ok(Checked {
            inner,
            env: env.clone(),
        }),
        _ => Err(errors.finish(&source)),
    }
}

/// Reads, checks and plans an expression.
pub fn compile(text: &str, env: &Env) -> Result<Program, Failure> {
    Ok(check(text, env)?.program()?)
}

/// Why an expression is no program.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Failure {
    /// It is wrong; the text is what follows `compilation failed: `.
    #[error("{0}")]
    Compile(#[from] CompileErrors),
    /// A constant in it cannot be converted; the text is what follows `program instantiation failed: `.
    #[error("{0}")]
    Plan(#[from] EvalError),
}

impl Checked {
    /// The type of the expression's value.
    pub fn output(&self) -> &Type {
        self.inner.kind(&self.inner.root)
    }

    /// Whether the expression names this variable.
    pub fn uses(&self, variable: &str) -> bool {
        let named = |reference: &check::Reference| matches!(reference, check::Reference::Name(name) if **name == *variable);
        self.inner.references.values().any(named)
    }

    /// What an evaluation can cost, given how large the values can be.
    pub fn estimate(&self, sizes: &dyn Sizes) -> Estimate {
        estimate::estimate(&self.inner, sizes)
    }

    pub fn program(&self) -> Result<Program, EvalError> {
        let vars: Vec<Arc<str>> = self.env.vars().iter().map(|(name, _)| name.clone()).collect();
        let used = vars.iter().map(|name| self.uses(name)).collect();
        Ok(Program {
            root: program::plan(&self.inner, &self.env)?,
            output: self.output().clone(),
            vars,
            used,
        })
    }
}

impl Program {
    /// The type of the value.
    pub fn output(&self) -> &Type {
        &self.output
    }

    /// The variables in the order in which `eval` takes their values, each with whether the expression names it.
    pub fn variables(&self) -> impl Iterator<Item = (&str, bool)> {
        self.vars
            .iter()
            .zip(&self.used)
            .map(|(name, used)| (&**name, *used))
    }

    /// Runs the program. `values` are those of the environment's variables, in the order of their declaration.
    pub fn eval<'a>(&self, values: &[Value<'a>], budget: &mut Budget) -> Result<Value<'a>, EvalError> {
        let mut run = eval::Run::new(values, budget.per_call);
        let result = run.eval(&self.root);
        budget.last = run.cost();
        match budget.left.checked_sub(budget.last) {
            Some(left) => {
                budget.left = left;
                result
            }
            None => {
                budget.left = 0;
                Err(EvalError::BudgetExceeded)
            }
        }
    }
}

impl std::fmt::Debug for Program {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Program -> {}", self.output)
    }
}
