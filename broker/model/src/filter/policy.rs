//! `match` filters: SNS filter policies, on attributes or on JSON data.
//!
//! A policy is an object. A property of it holds when any condition of its list does; the object holds
//! when all of its properties do; `$or` holds when any of its objects does. On data, an object in place of
//! a list goes one level down, and arrays in the data are looked through at every level: a property
//! holds when any of the values at its place satisfies it. Different properties may be satisfied by
//! different items of the same array.
//!
//! `exists` is about values, not objects: a property whose value is an object, null or the empty text does
//! not exist. What differs from SNS: numbers are not cut at five decimals nor at 10⁹, `$or` that is not
//! a list of two or more objects is refused instead of read as a property, a name with a dot means
//! just that, and the limits are [`limit::FILTER_CONDITIONS_MAX`] and [`limit::FILTER_DEPTH_MAX`].

use serde_json::{Map, Value};

use crate::event::{Event, is_attribute_name};
use crate::filter::condition::{Condition, Leaf, OPERATORS};
use crate::filter::{Scope, invalid, report};
use crate::limit;
use crate::problem::{self, Problem};

/// A compiled policy.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Policy(Expression);

#[derive(Clone, Debug, PartialEq)]
enum Expression {
    All(Box<[Self]>),
    Any(Box<[Self]>),
    Test(Test),
}

/// The conditions on one property, any of which is enough.
#[derive(Clone, Debug, PartialEq)]
struct Test {
    /// Names from the root down; just one for attributes.
    path: Box<[Box<str>]>,
    conditions: Box<[Condition]>,
}

impl Policy {
    /// Compiles a policy; reports what is wrong with it, in which case the result is of no use.
    pub(super) fn compile(policy: &Value, scope: Scope, problems: &mut Vec<Problem>) -> Self {
        let mut compiler = Compiler {
            scope,
            problems,
            conditions: 0,
            path: Vec::new(),
        };
        let expression = compiler.object(policy, "/filter/match", 1);
        compiler.check_conditions();
        Self(expression)
    }

    pub(super) fn takes_attributes(&self, event: &Event) -> bool {
        self.0.holds(&|test| {
            let value = test.path.first().and_then(|name| event.attribute(name));
            test.holds_for(value.as_deref().map(Leaf::Attribute))
        })
    }

    /// Whether the policy takes the data, which must be an object.
    pub(super) fn takes_data(&self, data: &Value) -> bool {
        data.is_object() && self.0.holds(&|test| test.holds_in(data))
    }
}

impl Expression {
    fn holds(&self, test: &impl Fn(&Test) -> bool) -> bool {
        match self {
            Self::All(parts) => parts.iter().all(|part| part.holds(test)),
            Self::Any(parts) => parts.iter().any(|part| part.holds(test)),
            Self::Test(own) => test(own),
        }
    }
}

impl Test {
    fn holds_for(&self, leaf: Option<Leaf<'_>>) -> bool {
        let taken = leaf.is_some_and(|leaf| self.takes(leaf));
        taken || (!leaf.is_some_and(Leaf::is_present) && self.takes_absence())
    }

    fn holds_in(&self, data: &Value) -> bool {
        let mut present = false;
        let taken = any_leaf(data, &self.path, &mut |leaf| {
            present |= leaf.is_present();
            self.takes(leaf)
        });
        taken || (!present && self.takes_absence())
    }

    fn takes(&self, leaf: Leaf<'_>) -> bool {
        self.conditions
            .iter()
            .any(|condition| condition.takes(leaf))
    }

    fn takes_absence(&self) -> bool {
        self.conditions.contains(&Condition::Absent)
    }
}

/// Whether `visit` takes any value at `path`. The depth is that of the data, which its parser bounds.
fn any_leaf(value: &Value, path: &[Box<str>], visit: &mut impl FnMut(Leaf<'_>) -> bool) -> bool {
    match value {
        Value::Array(items) => items.iter().any(|item| any_leaf(item, path, visit)),
        Value::Object(members) => path.split_first().is_some_and(|(name, rest)| {
            let member = members.get(&**name);
            member.is_some_and(|member| any_leaf(member, rest, visit))
        }),
        leaf => path.is_empty() && Leaf::from_json(leaf).is_some_and(visit),
    }
}

struct Compiler<'a> {
    scope: Scope,
    problems: &'a mut Vec<Problem>,
    /// Conditions so far.
    conditions: usize,
    /// Names from the root down to where the compiler stands.
    path: Vec<Box<str>>,
}

/// What stands for a part that is refused, once the reason is reported.
fn nothing() -> Expression {
    Expression::Any([].into())
}

impl Compiler<'_> {
    fn object(&mut self, value: &Value, pointer: &str, depth: usize) -> Expression {
        let Value::Object(members) = value else {
            return self.refuse(pointer, "must be an object");
        };
        if members.is_empty() {
            return self.refuse(pointer, "must not be empty");
        }
        if depth > limit::FILTER_DEPTH_MAX {
            let detail = format!(
                "must be nested at most {} levels deep",
                limit::FILTER_DEPTH_MAX
            );
            report(self.problems, Problem::new(pointer, "out_of_range", detail));
            return nothing();
        }
        let parts = members.iter();
        let parts = parts.map(|(name, value)| self.member(name, value, pointer, depth));
        Expression::All(parts.collect())
    }

    fn member(&mut self, name: &str, value: &Value, pointer: &str, depth: usize) -> Expression {
        let pointer = problem::child(pointer, name);
        if name == "$or" {
            return self.alternatives(value, &pointer, depth);
        }
        if self.scope == Scope::Attributes && !is_attribute_name(name) {
            let detail = "no attribute can have this name: names are lower-case letters and digits; \
                          for properties of the data set scope to \"data\"";
            return self.refuse(&pointer, detail);
        }
        self.path.push(name.into());
        let expression = match value {
            Value::Array(conditions) => self.test(conditions, &pointer),
            Value::Object(_) if self.scope == Scope::Data => {
                self.object(value, &pointer, depth + 1)
            }
            Value::Object(_) => self.refuse(&pointer, "must be a list: attributes are not nested"),
            _ => self.refuse(&pointer, "must be a list of conditions, or an object"),
        };
        self.path.pop();
        expression
    }

    fn alternatives(&mut self, value: &Value, pointer: &str, depth: usize) -> Expression {
        let alternatives = value.as_array().map(Vec::as_slice).unwrap_or_default();
        if alternatives.len() < 2 {
            return self.refuse(pointer, "must be a list of two or more objects");
        }
        let parts = alternatives.iter().enumerate().map(|(index, alternative)| {
            let pointer = problem::child(pointer, &index.to_string());
            self.check_alternative(alternative.as_object(), &pointer);
            self.object(alternative, &pointer, depth + 1)
        });
        Expression::Any(parts.collect())
    }

    fn check_alternative(&mut self, alternative: Option<&Map<String, Value>>, pointer: &str) {
        let names = alternative.into_iter().flat_map(Map::keys);
        for name in names.filter(|name| OPERATORS.contains(&name.as_str())) {
            let detail =
                "an operator cannot stand here: name a property, then its conditions in a list";
            self.refuse(&problem::child(pointer, name), detail);
        }
    }

    fn test(&mut self, conditions: &[Value], pointer: &str) -> Expression {
        if conditions.is_empty() {
            return self.refuse(pointer, "must have at least one condition");
        }
        let conditions = conditions
            .iter()
            .enumerate()
            .filter_map(|(index, condition)| {
                let pointer = problem::child(pointer, &index.to_string());
                Condition::parse(condition, &pointer, self.problems)
            });
        let conditions: Box<[Condition]> = conditions.collect();
        self.conditions += conditions.iter().map(Condition::weight).sum::<usize>();
        Expression::Test(Test {
            path: self.path.clone().into(),
            conditions,
        })
    }

    fn check_conditions(&mut self) {
        let most = limit::FILTER_CONDITIONS_MAX;
        if self.conditions > most {
            let detail = format!(
                "must have at most {most} conditions, got {}",
                self.conditions
            );
            report(
                self.problems,
                Problem::new("/filter/match", "out_of_range", detail),
            );
        }
    }

    fn refuse(&mut self, pointer: &str, detail: &str) -> Expression {
        report(self.problems, invalid(pointer, detail));
        nothing()
    }
}
