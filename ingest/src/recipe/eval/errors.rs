//! Why an expression failed: finds the smallest part that fails although its own parts do not, and says which values
//! were at fault. Runs only on failure, so it may evaluate parts again.

use cel::ExecutionError;
use cel::common::ast::{Expr, IdedExpr, operators};

use super::interpreter::{Scope, evaluate};
use super::step::{Step, last_step};
use super::value::{Value, shorten};

/// The reason, in words.
pub(crate) fn explain(ast: &IdedExpr, scope: &Scope<'_>) -> String {
    let mut culprit = ast;
    while let Some(part) = failing_part(culprit, scope) {
        culprit = part;
    }
    let error = evaluate(culprit, scope, |result| result.err().cloned());
    match error {
        Some(error) => reason(culprit, &error, scope),
        None => "the value has no counterpart in a database".into(),
    }
}

/// The first direct part that fails by itself. Loop bodies have variables of their own and are not looked into.
fn failing_part<'e>(ast: &'e IdedExpr, scope: &Scope<'_>) -> Option<&'e IdedExpr> {
    let fails = |part: &&'e IdedExpr| evaluate(part, scope, |result| result.is_err());
    match &ast.expr {
        Expr::Select(select) => Some(select.operand.as_ref()).filter(fails),
        Expr::Comprehension(c) => Some(&c.iter_range).filter(fails),
        Expr::List(list) => list.elements.iter().find(fails),
        Expr::Call(call) if call.func_name == operators::CONDITIONAL => {
            let [condition, yes, no] = call.args.as_slice() else { return None };
            if fails(&condition) {
                return Some(condition);
            }
            let taken =
                evaluate(condition, scope, |result| result.is_ok_and(|v| Value::from_val(v) == Ok(Value::Bool(true))));
            Some(if taken { yes } else { no }).filter(fails)
        }
        Expr::Call(call) => {
            // The target of `math.abs(x)` is no value, and `fails` would take it for one.
            let target = call.target.as_deref().filter(|t| !matches!(t.expr, Expr::Ident(_)));
            call.args.iter().find(fails).or_else(|| target.filter(fails))
        }
        _ => None,
    }
}

fn reason(ast: &IdedExpr, error: &ExecutionError, scope: &Scope<'_>) -> String {
    let value = |part: &IdedExpr| {
        evaluate(part, scope, |result| result.ok().and_then(|v| Value::from_val(v).ok().map(Value::into_owned)))
    };
    if let (Some((operand, step)), Some(of)) = (last_step(ast), last_step(ast).and_then(|(o, _)| value(o))) {
        return step_reason(&name(operand), &of, &step);
    }
    if let Expr::Select(select) = &ast.expr
        && let Some(of) = value(&select.operand)
    {
        // `has(a.b)` on what is no map.
        return step_reason(&name(&select.operand), &of, &Step::Field(&select.field));
    }
    match error {
        ExecutionError::FunctionError { message, .. } => message.clone(),
        ExecutionError::NoSuchKey(key) => format!("no such key: {key}"),
        ExecutionError::DivisionByZero(_) | ExecutionError::RemainderByZero(_) => "division by zero".into(),
        ExecutionError::Overflow(..) => {
            format!("the result of {} is too large{}", operation(ast), operands(ast, value))
        }
        ExecutionError::NoSuchOverload(_)
        | ExecutionError::UnsupportedBinaryOperator(..)
        | ExecutionError::ValuesNotComparable(..)
        | ExecutionError::UnexpectedType { .. } => {
            format!("{} does not work{}", operation(ast), operands(ast, value))
        }
        other => {
            // The interpreter's own words may hold whole records.
            shorten(&other.to_string(), 200).into_owned()
        }
    }
}

/// Why a step down failed.
fn step_reason(operand: &str, of: &Value<'_>, step: &Step<'_>) -> String {
    match (of, step) {
        (Value::Json(map), Step::Field(key) | Step::Key(key)) if map.is_object() => format!("no such key: {key}"),
        (Value::Json(list), Step::Index(i)) if list.is_array() => {
            let length = list.as_array().map_or(0, Vec::len);
            format!("no element {i}: {operand} has {length}")
        }
        (of, Step::Field(key) | Step::Key(key)) => {
            format!("{operand} is {}, so it has no {key}", described(of))
        }
        (of, Step::Index(i)) => format!("{operand} is {}, so it has no element {i}", described(of)),
    }
}

fn described(of: &Value<'_>) -> String {
    match of {
        Value::Null => "null".into(),
        other => format!("{} ({})", other.kind(), other.shown()),
    }
}

/// A chain such as `record.Company` as it was written; anything longer is "the value".
fn name(ast: &IdedExpr) -> String {
    match (&ast.expr, last_step(ast)) {
        (Expr::Ident(name), _) => name.clone(),
        (_, Some((operand, Step::Field(field)))) => format!("{}.{field}", name(operand)),
        (_, Some((operand, Step::Key(key)))) => format!("{}[{key:?}]", name(operand)),
        (_, Some((operand, Step::Index(i)))) => format!("{}[{i}]", name(operand)),
        _ => "the value".into(),
    }
}

/// `+` for `_+_`; a function's name and parentheses otherwise.
fn operation(ast: &IdedExpr) -> String {
    match &ast.expr {
        Expr::Call(call) if call.func_name == operators::INDEX => "the index [...]".into(),
        Expr::Call(call) if call.func_name == operators::CONDITIONAL => "the condition of ?:".into(),
        Expr::Call(call) if call.func_name.contains('_') || call.func_name.starts_with('@') => {
            call.func_name.trim_matches(['_', '@']).to_owned()
        }
        Expr::Call(call) => format!("{}()", call.func_name),
        Expr::Comprehension(_) => "the loop".into(),
        _ => "this".into(),
    }
}

fn operands(ast: &IdedExpr, value: impl Fn(&IdedExpr) -> Option<Value<'static>>) -> String {
    let parts: Vec<&IdedExpr> = match &ast.expr {
        Expr::Call(call) if call.func_name == operators::CONDITIONAL => call.args.iter().take(1).collect(),
        Expr::Call(call) => call.target.as_deref().into_iter().chain(call.args.iter()).collect(),
        Expr::Comprehension(c) => vec![&c.iter_range],
        _ => Vec::new(),
    };
    let shown: Vec<String> = parts.into_iter().filter_map(value).map(|v| described(&v)).collect();
    if shown.is_empty() { String::new() } else { format!(" with {}", shown.join(" and ")) }
}
