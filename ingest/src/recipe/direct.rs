//! Evaluation of the common forms (paths into the record, literals, `+`, comparisons, `?:` and our helpers) straight on
//! the JSON. Converting a record to CEL values and walking CEL's tree costs several times more, per job.
//!
//! It gives either the value that the interpreter would give, or nothing; then the interpreter decides. A property test
//! holds the two together.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::str::FromStr;

use cel::common::ast::{CallExpr, Expr, IdedExpr, LiteralValue, operators};
use jobqueue_json::Value;

use super::bytes;
use super::calendar::Format;
use super::datum::Datum;
use super::expression::{Step, last_step};
use super::helpers::{self, Helper};
use super::interpreter::Scope;

/// An expression in one of the common forms.
#[derive(Debug)]
pub(crate) enum Direct {
    Literal(Datum<'static>),
    Now,
    Path(Path),
    /// `has(path.field)`
    Has(Path, String),
    Add(Box<[Direct; 2]>),
    /// `==`, or `!=` where true.
    Equals(Box<[Direct; 2]>, bool),
    /// The accepted orderings: `<=` accepts less and equal.
    Ordered(Box<[Direct; 2]>, &'static [Ordering]),
    Not(Box<Direct>),
    And(Box<[Direct; 2]>),
    Or(Box<[Direct; 2]>),
    Condition(Box<[Direct; 3]>),
    /// The default is a literal null where the recipe has none, here and below.
    Date(Helper, Box<[Direct; 2]>, Vec<Format>),
    Number(Box<[Direct; 2]>),
    Decimal(Box<[Direct; 2]>),
    Text(Box<Direct>),
    /// CEL's `string`, of a number that is in its own digits.
    String(Box<Direct>),
    /// `default(path, fallback)`
    DefaultPath(Path, Box<Direct>),
    /// `default(x, fallback)` for any other `x`.
    Default(Box<[Direct; 2]>),
}

/// A way into a variable.
#[derive(Debug)]
pub(crate) struct Path {
    root: Root,
    steps: Vec<PathStep>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Root {
    Job,
    Record,
    Item,
}

#[derive(Debug)]
enum PathStep {
    Key(String),
    Index(usize),
}

/// Where a path leads.
enum Found<'s> {
    Value(Datum<'s>),
    /// A key or element is not there, or what should hold it is null.
    Missing,
    /// Not a case for here.
    Unclear,
}

impl Direct {
    /// None if the expression, or a part of it, has no such form.
    pub(crate) fn compile(ast: &IdedExpr) -> Option<Self> {
        match &ast.expr {
            Expr::Literal(literal) => literal_datum(literal).map(Self::Literal),
            Expr::Call(call) if call.func_name != operators::INDEX => Self::call(call),
            Expr::Select(select) if select.test => {
                Some(Self::Has(Path::compile(&select.operand)?, select.field.clone()))
            }
            _ => Path::compile(ast).map(Self::Path),
        }
    }

    fn call(call: &CallExpr) -> Option<Self> {
        if call.target.is_some() {
            return None;
        }
        let part = |i: usize| Self::compile(call.args.get(i)?).map(Box::new);
        let pair = || match call.args.as_slice() {
            [a, b] => Some(Box::new([Self::compile(a)?, Self::compile(b)?])),
            _ => None,
        };
        Some(match call.func_name.as_str() {
            operators::ADD => Self::Add(pair()?),
            operators::EQUALS => Self::Equals(pair()?, false),
            operators::NOT_EQUALS => Self::Equals(pair()?, true),
            operators::LESS => Self::Ordered(pair()?, &[Ordering::Less]),
            operators::LESS_EQUALS => Self::Ordered(pair()?, &[Ordering::Less, Ordering::Equal]),
            operators::GREATER => Self::Ordered(pair()?, &[Ordering::Greater]),
            operators::GREATER_EQUALS => Self::Ordered(pair()?, &[Ordering::Greater, Ordering::Equal]),
            operators::LOGICAL_AND => Self::And(pair()?),
            operators::LOGICAL_OR => Self::Or(pair()?),
            operators::LOGICAL_NOT => Self::Not(part(0)?),
            operators::CONDITIONAL => match call.args.as_slice() {
                [a, b, c] => Self::Condition(Box::new([Self::compile(a)?, Self::compile(b)?, Self::compile(c)?])),
                _ => return None,
            },
            "string" if call.args.len() == 1 => Self::String(part(0)?),
            name => {
                let with_default = |i: usize| {
                    let default = call.args.get(i).map_or(Some(Self::Literal(Datum::Null)), Self::compile)?;
                    Some(Box::new([Self::compile(call.args.first()?)?, default]))
                };
                match Helper::from_str(name).ok()? {
                    Helper::Now => Self::Now,
                    helper @ (Helper::Date | Helper::DateTime) => {
                        Self::Date(helper, with_default(2)?, literal_formats(helper, call.args.get(1))?)
                    }
                    Helper::Number => Self::Number(with_default(1)?),
                    Helper::Decimal => Self::Decimal(with_default(1)?),
                    Helper::Text => Self::Text(part(0)?),
                    Helper::Json | Helper::Timestamp | Helper::Instant => return None,
                    Helper::Default if last_step(call.args.first()?).is_some() => {
                        Self::DefaultPath(Path::compile(&call.args[0])?, part(1)?)
                    }
                    Helper::Default => Self::Default(pair()?),
                }
            }
        })
    }

    /// The value, or None where the interpreter must decide.
    pub(crate) fn evaluate<'s>(&'s self, scope: &Scope<'s>) -> Option<Datum<'s>> {
        match self {
            Self::Literal(datum) => Some(borrowed(datum)),
            Self::Now => Some(Datum::Timestamp(scope.now.fixed_offset())),
            Self::Path(path) => match path.find(scope) {
                Found::Value(value) => Some(value),
                Found::Missing | Found::Unclear => None,
            },
            Self::Has(path, field) => match path.find(scope) {
                Found::Value(Datum::Json(map)) => map.as_object().map(|map| Datum::Bool(map.contains_key(field))),
                _ => None,
            },
            Self::Add(pair) => add(pair[0].evaluate(scope)?, pair[1].evaluate(scope)?),
            Self::Equals(pair, negate) => {
                equal(&pair[0].evaluate(scope)?, &pair[1].evaluate(scope)?).map(|equal| Datum::Bool(equal != *negate))
            }
            Self::Ordered(pair, accepted) => {
                let ordering = order(&pair[0].evaluate(scope)?, &pair[1].evaluate(scope)?)?;
                Some(Datum::Bool(accepted.contains(&ordering)))
            }
            Self::Not(part) => part.truth(scope).map(|b| Datum::Bool(!b)),
            Self::And(pair) => Some(Datum::Bool(pair[0].truth(scope)? && pair[1].truth(scope)?)),
            Self::Or(pair) => Some(Datum::Bool(pair[0].truth(scope)? || pair[1].truth(scope)?)),
            Self::Condition(parts) => {
                if parts[0].truth(scope)? {
                    parts[1].evaluate(scope)
                } else {
                    parts[2].evaluate(scope)
                }
            }
            Self::Date(helper, pair, formats) => {
                let (x, default) = (pair[0].evaluate(scope)?, pair[1].evaluate(scope)?);
                helpers::date(*helper, &x, formats, Some(&default)).ok()
            }
            Self::Number(pair) => helpers::number(&pair[0].evaluate(scope)?, Some(&pair[1].evaluate(scope)?)).ok(),
            Self::Decimal(pair) => helpers::decimal(&pair[0].evaluate(scope)?, Some(&pair[1].evaluate(scope)?)).ok(),
            // The order of a map's keys is the interpreter's affair.
            Self::Text(x) => match x.evaluate(scope)? {
                Datum::Json(_) => None,
                scalar => helpers::text(scalar).ok(),
            },
            Self::String(x) => match x.evaluate(scope)? {
                Datum::Written(digits) => Some(Datum::Text(digits)),
                _ => None,
            },
            Self::DefaultPath(path, fallback) => match path.find(scope) {
                Found::Value(Datum::Null) | Found::Missing => fallback.evaluate(scope),
                Found::Value(value) => Some(value),
                Found::Unclear => None,
            },
            Self::Default(pair) => {
                let (value, fallback) = (pair[0].evaluate(scope)?, pair[1].evaluate(scope)?);
                Some(if value == Datum::Null { fallback } else { value })
            }
        }
    }

    fn truth(&self, scope: &Scope<'_>) -> Option<bool> {
        match self.evaluate(scope)? {
            Datum::Bool(b) => Some(b),
            _ => None,
        }
    }
}

impl Path {
    fn compile(ast: &IdedExpr) -> Option<Self> {
        if let Some((operand, step)) = last_step(ast) {
            let mut path = Self::compile(operand)?;
            path.steps.push(match step {
                Step::Field(key) | Step::Key(key) => PathStep::Key(key.to_owned()),
                Step::Index(i) => PathStep::Index(i),
            });
            return Some(path);
        }
        let root = match &ast.expr {
            Expr::Ident(name) if name == "record" => Root::Record,
            Expr::Ident(name) if name == "item" => Root::Item,
            Expr::Ident(name) if name == "job" => Root::Job,
            _ => return None,
        };
        Some(Self { root, steps: Vec::new() })
    }

    fn find<'s>(&self, scope: &Scope<'s>) -> Found<'s> {
        let variable = match self.root {
            Root::Record => scope.record,
            Root::Item => scope.item,
            Root::Job => return self.find_in_job(scope),
        };
        variable.map_or(Found::Unclear, |value| descend(value, &self.steps))
    }

    fn find_in_job<'s>(&self, scope: &Scope<'s>) -> Found<'s> {
        let [PathStep::Key(field), rest @ ..] = self.steps.as_slice() else { return Found::Unclear };
        let job = scope.job;
        let map = match field.as_str() {
            "args" => {
                let [PathStep::Index(i), rest @ ..] = rest else { return Found::Unclear };
                return job.args.get(*i).map_or(Found::Missing, |value| descend(value, rest));
            }
            "kwargs" => job.kwargs,
            "fields" => job.fields,
            scalar => {
                let value = match scalar {
                    "id" => Datum::Text(Cow::Borrowed(job.id)),
                    "queue" => Datum::Text(Cow::Borrowed(job.queue)),
                    "function" => job.function.map_or(Datum::Null, |f| Datum::Text(Cow::Borrowed(f))),
                    "attempt" => Datum::Int(i64::from(job.attempt)),
                    "enqueued_at" => job.enqueued_at.map_or(Datum::Null, |t| Datum::Timestamp(t.fixed_offset())),
                    _ => return Found::Unclear,
                };
                return match (value, rest) {
                    (value, []) => Found::Value(value),
                    (Datum::Null, _) => Found::Missing,
                    _ => Found::Unclear,
                };
            }
        };
        let [PathStep::Key(key), rest @ ..] = rest else { return Found::Unclear };
        map.get(key).map_or(Found::Missing, |value| descend(value, rest))
    }
}

fn descend<'s>(mut value: &'s Value, steps: &[PathStep]) -> Found<'s> {
    for step in steps {
        let next = match (value, step) {
            (Value::Object(map), _) if bytes::from_map(map).is_some() => return Found::Unclear,
            (Value::Object(map), PathStep::Key(key)) => map.get(key),
            (Value::Array(list), PathStep::Index(i)) => list.get(*i),
            (Value::Null, _) => None,
            _ => return Found::Unclear,
        };
        match next {
            Some(next) => value = next,
            None => return Found::Missing,
        }
    }
    Found::Value(Datum::from_json(value))
}

/// A literal without a copy of its text.
fn borrowed<'s>(datum: &'s Datum<'static>) -> Datum<'s> {
    match datum {
        Datum::Text(s) => Datum::Text(Cow::Borrowed(s)),
        other => other.clone(),
    }
}

fn literal_datum(literal: &LiteralValue) -> Option<Datum<'static>> {
    Some(match literal {
        LiteralValue::Null => Datum::Null,
        LiteralValue::Boolean(b) => Datum::Bool(*b.inner()),
        LiteralValue::Int(i) => Datum::Int(*i.inner()),
        LiteralValue::UInt(u) => Datum::UInt(*u.inner()),
        LiteralValue::Double(f) => Datum::Float(*f.inner()),
        LiteralValue::String(s) => Datum::Text(Cow::Owned(s.inner().to_owned())),
        LiteralValue::Bytes(_) => return None,
    })
}

/// Formats that are known now, as they nearly always are.
fn literal_formats(helper: Helper, argument: Option<&IdedExpr>) -> Option<Vec<Format>> {
    let one = |ast: &IdedExpr| match &ast.expr {
        Expr::Literal(LiteralValue::String(s)) => Format::parse(s.inner(), helper == Helper::DateTime).ok(),
        _ => None,
    };
    match argument.map(|a| &a.expr) {
        None | Some(Expr::Literal(LiteralValue::Null)) => Some(vec![Format::Iso]),
        Some(Expr::Literal(_)) => one(argument?).map(|format| vec![format]),
        Some(Expr::List(list)) if !list.elements.is_empty() && list.optional_indices.is_empty() => {
            list.elements.iter().map(one).collect()
        }
        _ => None,
    }
}

fn add<'s>(a: Datum<'s>, b: Datum<'s>) -> Option<Datum<'s>> {
    match (a, b) {
        (Datum::Text(a), Datum::Text(b)) => {
            let mut text = String::with_capacity(a.len() + b.len());
            text.push_str(&a);
            text.push_str(&b);
            Some(Datum::Text(Cow::Owned(text)))
        }
        (Datum::Int(a), Datum::Int(b)) => a.checked_add(b).map(Datum::Int),
        (a, b) => Some(Datum::Float(double(&a)? + double(&b)?)),
    }
}

/// Only what is beyond doubt: equal types, and null against anything.
fn equal(a: &Datum<'_>, b: &Datum<'_>) -> Option<bool> {
    match (a, b) {
        (Datum::Null, b) => Some(*b == Datum::Null),
        (_, Datum::Null) => Some(false),
        (Datum::Text(a), Datum::Text(b)) => Some(a == b),
        (Datum::Bool(a), Datum::Bool(b)) => Some(a == b),
        (Datum::Int(a), Datum::Int(b)) => Some(a == b),
        (Datum::Date(a), Datum::Date(b)) => Some(a == b),
        (Datum::DateTime(a), Datum::DateTime(b)) => Some(a == b),
        _ => None,
    }
}

/// What CEL computes with.
fn double(datum: &Datum<'_>) -> Option<f64> {
    match datum {
        Datum::Float(f) => Some(*f),
        Datum::Written(digits) => digits.parse().ok(),
        _ => None,
    }
}

fn order(a: &Datum<'_>, b: &Datum<'_>) -> Option<Ordering> {
    match (a, b) {
        (Datum::Text(a), Datum::Text(b)) => Some(a.cmp(b)),
        (Datum::Int(a), Datum::Int(b)) => Some(a.cmp(b)),
        (Datum::Float(_) | Datum::Written(_), Datum::Float(_) | Datum::Written(_)) => {
            double(a)?.partial_cmp(&double(b)?)
        }
        (Datum::Date(a), Datum::Date(b)) => Some(a.cmp(b)),
        (Datum::DateTime(a), Datum::DateTime(b)) => Some(a.cmp(b)),
        _ => None,
    }
}
