//! Evaluation of the common forms (paths into the record, literals, `+`, comparisons, `?:` and our functions) straight on
//! the JSON. Converting a record to CEL values and walking CEL's tree costs several times more, per job.
//!
//! It gives either the value that the interpreter would give, or nothing; then the interpreter decides. A property test
//! holds the two together.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::str::FromStr;

use cel::common::ast::{CallExpr, Expr, IdedExpr, LiteralValue, operators};
use jobqueue_json::Value as JsonValue;

use super::bytes;
use super::calendar::Format;
use super::functions::{self, RecipeFunction};
use super::interpreter::Scope;
use super::step::{Step, last_step};
use super::value::Value;

/// An expression in one of the common forms.
#[derive(Debug)]
pub(crate) enum FastPath {
    Literal(Value<'static>),
    Now,
    Path(Path),
    /// `has(path.field)`
    Has(Path, String),
    Add(Box<[FastPath; 2]>),
    /// `==`, or `!=` where true.
    Equals(Box<[FastPath; 2]>, bool),
    /// The accepted orderings: `<=` accepts less and equal.
    Ordered(Box<[FastPath; 2]>, &'static [Ordering]),
    Not(Box<FastPath>),
    And(Box<[FastPath; 2]>),
    Or(Box<[FastPath; 2]>),
    Condition(Box<[FastPath; 3]>),
    /// The default is a literal null where the recipe has none, here and below.
    Date(RecipeFunction, Box<[FastPath; 2]>, Vec<Format>),
    Number(Box<[FastPath; 2]>),
    Decimal(Box<[FastPath; 2]>),
    Text(Box<FastPath>),
    /// CEL's `string`, of a number that is in its own digits.
    String(Box<FastPath>),
    /// `default(path, fallback)`
    DefaultPath(Path, Box<FastPath>),
    /// `default(x, fallback)` for any other `x`.
    Default(Box<[FastPath; 2]>),
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
    Value(Value<'s>),
    /// A key or element is not there, or what should hold it is null.
    Missing,
    /// Not a case for here.
    Unclear,
}

impl FastPath {
    /// Returns `None` if the expression, or a part of it, has no such form.
    pub(crate) fn compile(ast: &IdedExpr) -> Option<Self> {
        match &ast.expr {
            Expr::Literal(literal) => literal_value(literal).map(Self::Literal),
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
                    let default = call.args.get(i).map_or(Some(Self::Literal(Value::Null)), Self::compile)?;
                    Some(Box::new([Self::compile(call.args.first()?)?, default]))
                };
                match RecipeFunction::from_str(name).ok()? {
                    RecipeFunction::Now => Self::Now,
                    function @ (RecipeFunction::Date | RecipeFunction::DateTime) => {
                        Self::Date(function, with_default(2)?, literal_formats(function, call.args.get(1))?)
                    }
                    RecipeFunction::Number => Self::Number(with_default(1)?),
                    RecipeFunction::Decimal => Self::Decimal(with_default(1)?),
                    RecipeFunction::Text => Self::Text(part(0)?),
                    RecipeFunction::Json | RecipeFunction::Timestamp | RecipeFunction::Instant => return None,
                    RecipeFunction::Default if last_step(call.args.first()?).is_some() => {
                        Self::DefaultPath(Path::compile(&call.args[0])?, part(1)?)
                    }
                    RecipeFunction::Default => Self::Default(pair()?),
                }
            }
        })
    }

    /// Returns the value, or `None` where the interpreter must decide.
    pub(crate) fn evaluate<'s>(&'s self, scope: &Scope<'s>) -> Option<Value<'s>> {
        match self {
            Self::Literal(value) => Some(borrowed(value)),
            Self::Now => Some(Value::Timestamp(scope.now.fixed_offset())),
            Self::Path(path) => match path.find(scope) {
                Found::Value(value) => Some(value),
                Found::Missing | Found::Unclear => None,
            },
            Self::Has(path, field) => match path.find(scope) {
                Found::Value(Value::Json(map)) => map.as_object().map(|map| Value::Bool(map.contains_key(field))),
                _ => None,
            },
            Self::Add(pair) => add(pair[0].evaluate(scope)?, pair[1].evaluate(scope)?),
            Self::Equals(pair, negate) => {
                equal(&pair[0].evaluate(scope)?, &pair[1].evaluate(scope)?).map(|equal| Value::Bool(equal != *negate))
            }
            Self::Ordered(pair, accepted) => {
                let ordering = order(&pair[0].evaluate(scope)?, &pair[1].evaluate(scope)?)?;
                Some(Value::Bool(accepted.contains(&ordering)))
            }
            Self::Not(part) => part.truth(scope).map(|b| Value::Bool(!b)),
            Self::And(pair) => Some(Value::Bool(pair[0].truth(scope)? && pair[1].truth(scope)?)),
            Self::Or(pair) => Some(Value::Bool(pair[0].truth(scope)? || pair[1].truth(scope)?)),
            Self::Condition(parts) => {
                if parts[0].truth(scope)? {
                    parts[1].evaluate(scope)
                } else {
                    parts[2].evaluate(scope)
                }
            }
            Self::Date(function, pair, formats) => {
                let (x, default) = (pair[0].evaluate(scope)?, pair[1].evaluate(scope)?);
                functions::date(*function, &x, formats, Some(&default)).ok()
            }
            Self::Number(pair) => functions::number(&pair[0].evaluate(scope)?, Some(&pair[1].evaluate(scope)?)).ok(),
            Self::Decimal(pair) => functions::decimal(&pair[0].evaluate(scope)?, Some(&pair[1].evaluate(scope)?)).ok(),
            // The order of a map's keys is the interpreter's affair.
            Self::Text(x) => match x.evaluate(scope)? {
                Value::Json(_) => None,
                scalar => functions::text(scalar).ok(),
            },
            Self::String(x) => match x.evaluate(scope)? {
                Value::Number(digits) => Some(Value::Text(digits)),
                _ => None,
            },
            Self::DefaultPath(path, fallback) => match path.find(scope) {
                Found::Value(Value::Null) | Found::Missing => fallback.evaluate(scope),
                Found::Value(value) => Some(value),
                Found::Unclear => None,
            },
            Self::Default(pair) => {
                let (value, fallback) = (pair[0].evaluate(scope)?, pair[1].evaluate(scope)?);
                Some(if value == Value::Null { fallback } else { value })
            }
        }
    }

    fn truth(&self, scope: &Scope<'_>) -> Option<bool> {
        match self.evaluate(scope)? {
            Value::Bool(b) => Some(b),
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
                    "id" => Value::Text(Cow::Borrowed(job.id)),
                    "queue" => Value::Text(Cow::Borrowed(job.queue)),
                    "function" => job.function.map_or(Value::Null, |f| Value::Text(Cow::Borrowed(f))),
                    "attempt" => Value::Int(i64::from(job.attempt)),
                    "enqueued_at" => job.enqueued_at.map_or(Value::Null, |t| Value::Timestamp(t.fixed_offset())),
                    _ => return Found::Unclear,
                };
                return match (value, rest) {
                    (value, []) => Found::Value(value),
                    (Value::Null, _) => Found::Missing,
                    _ => Found::Unclear,
                };
            }
        };
        let [PathStep::Key(key), rest @ ..] = rest else { return Found::Unclear };
        map.get(key).map_or(Found::Missing, |value| descend(value, rest))
    }
}

fn descend<'s>(mut value: &'s JsonValue, steps: &[PathStep]) -> Found<'s> {
    for step in steps {
        let next = match (value, step) {
            (JsonValue::Object(map), _) if bytes::from_map(map).is_some() => return Found::Unclear,
            (JsonValue::Object(map), PathStep::Key(key)) => map.get(key),
            (JsonValue::Array(list), PathStep::Index(i)) => list.get(*i),
            (JsonValue::Null, _) => None,
            _ => return Found::Unclear,
        };
        match next {
            Some(next) => value = next,
            None => return Found::Missing,
        }
    }
    Found::Value(Value::from_json(value))
}

/// A literal without a copy of its text.
fn borrowed<'s>(value: &'s Value<'static>) -> Value<'s> {
    match value {
        Value::Text(s) => Value::Text(Cow::Borrowed(s)),
        other => other.clone(),
    }
}

fn literal_value(literal: &LiteralValue) -> Option<Value<'static>> {
    Some(match literal {
        LiteralValue::Null => Value::Null,
        LiteralValue::Boolean(b) => Value::Bool(*b.inner()),
        LiteralValue::Int(i) => Value::Int(*i.inner()),
        LiteralValue::UInt(u) => Value::UInt(*u.inner()),
        LiteralValue::Double(f) => Value::Float(*f.inner()),
        LiteralValue::String(s) => Value::Text(Cow::Owned(s.inner().to_owned())),
        LiteralValue::Bytes(_) => return None,
    })
}

/// Formats that are known now, as they nearly always are.
fn literal_formats(function: RecipeFunction, argument: Option<&IdedExpr>) -> Option<Vec<Format>> {
    let one = |ast: &IdedExpr| match &ast.expr {
        Expr::Literal(LiteralValue::String(s)) => Format::parse(s.inner(), function == RecipeFunction::DateTime).ok(),
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

fn add<'s>(a: Value<'s>, b: Value<'s>) -> Option<Value<'s>> {
    match (a, b) {
        (Value::Text(a), Value::Text(b)) => {
            let mut text = String::with_capacity(a.len() + b.len());
            text.push_str(&a);
            text.push_str(&b);
            Some(Value::Text(Cow::Owned(text)))
        }
        (Value::Int(a), Value::Int(b)) => a.checked_add(b).map(Value::Int),
        (a, b) => Some(Value::Float(double(&a)? + double(&b)?)),
    }
}

/// Only what is beyond doubt: equal types, and null against anything.
fn equal(a: &Value<'_>, b: &Value<'_>) -> Option<bool> {
    match (a, b) {
        (Value::Null, b) => Some(*b == Value::Null),
        (_, Value::Null) => Some(false),
        (Value::Text(a), Value::Text(b)) => Some(a == b),
        (Value::Bool(a), Value::Bool(b)) => Some(a == b),
        (Value::Int(a), Value::Int(b)) => Some(a == b),
        (Value::Date(a), Value::Date(b)) => Some(a == b),
        (Value::DateTime(a), Value::DateTime(b)) => Some(a == b),
        _ => None,
    }
}

/// What CEL computes with.
fn double(value: &Value<'_>) -> Option<f64> {
    match value {
        Value::Float(f) => Some(*f),
        Value::Number(digits) => digits.parse().ok(),
        _ => None,
    }
}

fn order(a: &Value<'_>, b: &Value<'_>) -> Option<Ordering> {
    match (a, b) {
        (Value::Text(a), Value::Text(b)) => Some(a.cmp(b)),
        (Value::Int(a), Value::Int(b)) => Some(a.cmp(b)),
        (Value::Float(_) | Value::Number(_), Value::Float(_) | Value::Number(_)) => double(a)?.partial_cmp(&double(b)?),
        (Value::Date(a), Value::Date(b)) => Some(a.cmp(b)),
        (Value::DateTime(a), Value::DateTime(b)) => Some(a.cmp(b)),
        _ => None,
    }
}
