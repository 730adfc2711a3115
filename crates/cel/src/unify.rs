//! Which types fit which, and what that says about types that are still open. Source: cel-go `checker/types.go`.

use crate::types::Type;
use std::sync::Arc;

/// What is known of open types so far. A trial that fails leaves no trace.
#[derive(Default)]
pub(crate) struct Unifier {
    bound: Vec<Option<Type>>,
    trail: Vec<(u32, Option<Type>)>,
}

impl Unifier {
    pub fn fresh(&mut self) -> Type {
        self.bound.push(None);
        Type::Var(self.bound.len() as u32 - 1)
    }

    fn find(&self, kind: &Type) -> Option<&Type> {
        match kind {
            Type::Var(at) => self.bound.get(*at as usize)?.as_ref(),
            _ => None,
        }
    }

    fn bind(&mut self, var: &Type, to: Type) {
        if let Type::Var(at) = var {
            let old = self.bound[*at as usize].replace(to);
            self.trail.push((*at, old));
        }
    }

    fn trial(&mut self, run: impl FnOnce(&mut Self) -> bool) -> bool {
        let from = self.trail.len();
        if run(self) {
            self.trail.truncate(from);
            return true;
        }
        for (at, old) in self.trail.drain(from..).rev() {
            self.bound[at as usize] = old;
        }
        false
    }

    /// Whether a value of type `b` can be where `a` is asked for.
    pub fn assignable(&mut self, a: &Type, b: &Type) -> bool {
        self.trial(|unifier| unifier.fits(a, b))
    }

    pub fn all_assignable(&mut self, a: &[Type], b: &[Type]) -> bool {
        a.len() == b.len() && self.trial(|unifier| a.iter().zip(b).all(|(a, b)| unifier.fits(a, b)))
    }

    fn fits(&mut self, a: &Type, b: &Type) -> bool {
        if matches!(b, Type::Var(_)) {
            let (valid, known) = self.substitutes(a, b);
            if valid || known {
                return valid;
            }
        }
        if matches!(a, Type::Var(_)) {
            return self.substitutes(b, a).0;
        }
        if a.is_dyn_or_error() || b.is_dyn_or_error() {
            return true;
        }
        match (a, b) {
            (Type::Null, other) | (other, Type::Null) => nullable(other),
            (Type::Type(_), Type::Type(_)) => true,
            (Type::List(a), Type::List(b)) => self.fits(a, b),
            (Type::Map(ak, av), Type::Map(bk, bv)) => self.fits(ak, bk) && self.fits(av, bv),
            (Type::Opaque(an, ap), Type::Opaque(bn, bp)) => {
                an == bn && ap.len() == bp.len() && ap.iter().zip(bp.iter()).all(|(a, b)| self.fits(a, b))
            }
            (a, b) => a == b,
        }
    }

    /// Whether `var` can stand for `kind`, and whether something is known of `var`.
    fn substitutes(&mut self, kind: &Type, var: &Type) -> (bool, bool) {
        if kind == var {
            return (true, true);
        }
        if let Some(known) = self.find(var).cloned() {
            if *kind == known {
                return (true, true);
            }
            if self.fits(kind, &known) {
                let general = most_general(kind, &known).clone();
                if !self.occurs(var, &general) {
                    self.bind(var, general);
                }
                return (true, true);
            }
            return (false, true);
        }
        if self.occurs(var, kind) {
            return (false, false);
        }
        self.bind(var, kind.clone());
        (true, false)
    }

    fn occurs(&self, var: &Type, within: &Type) -> bool {
        if var == within {
            return true;
        }
        match within {
            Type::Var(_) => self.find(within).is_some_and(|known| self.occurs(var, known)),
            Type::List(of) | Type::Type(Some(of)) => self.occurs(var, of),
            Type::Map(keys, values) => self.occurs(var, keys) || self.occurs(var, values),
            Type::Opaque(_, params) => params.iter().any(|param| self.occurs(var, param)),
            _ => false,
        }
    }

    /// The type with all that is known put in; what is open becomes `dyn` when `close` is set.
    pub fn substitute(&self, kind: &Type, close: bool) -> Type {
        match kind {
            Type::Var(_) => match self.find(kind) {
                Some(known) => self.substitute(known, close),
                None if close => Type::Dyn,
                None => kind.clone(),
            },
            other => other.map_params(&mut |inner| self.substitute(inner, close)),
        }
    }
}

fn nullable(kind: &Type) -> bool {
    matches!(
        kind,
        Type::Null | Type::Opaque(..) | Type::Object(_) | Type::Duration | Type::Timestamp
    )
}

/// Puts types in the place of a declaration's parameters.
pub(crate) fn instantiate(kind: &Type, params: &[Type]) -> Type {
    match kind {
        Type::Param(at) => params.get(usize::from(*at)).cloned().unwrap_or(Type::Dyn),
        other => other.map_params(&mut |inner| instantiate(inner, params)),
    }
}

/// The more general one of two types that fit each other.
pub(crate) fn most_general<'t>(a: &'t Type, b: &'t Type) -> &'t Type {
    if less_specific(a, b) { a } else { b }
}

fn less_specific(a: &Type, b: &Type) -> bool {
    if matches!(a, Type::Dyn | Type::Var(_)) {
        return true;
    }
    if matches!(b, Type::Dyn | Type::Var(_)) {
        return false;
    }
    let all = |a: &Arc<[Type]>, b: &Arc<[Type]>| a.iter().zip(b.iter()).all(|(a, b)| less_specific(a, b));
    match (a, b) {
        (Type::Opaque(an, ap), Type::Opaque(bn, bp)) => an == bn && ap.len() == bp.len() && all(ap, bp),
        (Type::List(a), Type::List(b)) => less_specific(a, b),
        (Type::Map(ak, av), Type::Map(bk, bv)) => less_specific(ak, bk) && less_specific(av, bv),
        (Type::Type(_), Type::Type(_)) => true,
        (a, b) => a == b,
    }
}
