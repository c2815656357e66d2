//! One expression of a recipe: its text, its syntax tree, and its evaluation with errors that a person can act on.

use cel::common::ast::{CallExpr, EntryExpr, Expr, IdedExpr, LiteralValue, SelectExpr, operators};
use cel::common::types::{CelBool, CelInt, CelString};

use super::errors::explain;
use super::fast_path::FastPath;
use super::interpreter::{DIGITS, DURATION, GOES_ON, Scope, TIMESTAMP, evaluate};
use super::step::{Step, last_step};
use super::value::{Value, shorten};
use crate::TimeZone;

/// Longest expression quoted in an error message, in characters.
const EXPRESSION_SHOWN: usize = 120;

/// A parsed and checked expression.
#[derive(Debug)]
pub(crate) struct Expression {
    pub(crate) source: String,
    ast: IdedExpr,
    /// Where the expression has one of the common forms.
    fast_path: Option<FastPath>,
}

impl Expression {
    /// Wraps a checked tree. `default(a.b, c)` is rewritten here, so that a missing `a.b` counts as null, `string(x)`, so
    /// that a number of the record keeps its digits, loops, so that they can be interrupted, and `timestamp(x)`, so that it
    /// knows the zone.
    pub(crate) fn new(source: &str, mut ast: IdedExpr, zone: TimeZone) -> Self {
        let fast_path = FastPath::compile(&ast);
        tell_the_zone(&mut ast, zone);
        expand_defaults(&mut ast);
        keep_digits(&mut ast);
        make_loops_interruptible(&mut ast);
        Self { source: source.to_owned(), ast, fast_path }
    }

    /// Evaluates for one row. The error says why, without table, column and expression, which the caller knows.
    pub(crate) fn evaluate<'s>(&'s self, scope: &Scope<'s>) -> Result<Value<'s>, String> {
        match self.evaluate_on_fast_path(scope) {
            Some(value) => Ok(value),
            None => self.interpret(scope),
        }
    }

    /// Without the interpreter, if the expression and its values are simple enough. `None` says nothing about
    /// the outcome: errors, too, are for the interpreter to find.
    pub(crate) fn evaluate_on_fast_path<'s>(&'s self, scope: &Scope<'s>) -> Option<Value<'s>> {
        self.fast_path.as_ref()?.evaluate(scope)
    }

    /// With the interpreter.
    pub(crate) fn interpret<'r>(&self, scope: &Scope<'_>) -> Result<Value<'r>, String> {
        evaluate(&self.ast, scope, |result| match result {
            Ok(val) => Value::from_val(val).map(Value::into_owned),
            Err(_) => Err(explain(&self.ast, scope)),
        })
    }

    /// The text for error messages.
    pub(crate) fn shown(&self) -> String {
        shorten(self.source.trim(), EXPRESSION_SHOWN).into_owned()
    }
}

/// `default(a.b, c)` becomes `a != null && has(a.b) && a.b != null ? a.b : c`, in every place.
fn expand_defaults(ast: &mut IdedExpr) {
    for child in children_mut(&mut ast.expr) {
        expand_defaults(child);
    }
    let Expr::Call(call) = &ast.expr else { return };
    if call.func_name != "default"
        || call.target.is_some()
        || call.args.len() != 2
        || last_step(&call.args[0]).is_none()
    {
        return;
    }
    let guard = present(&call.args[0]);
    ast.expr = function(operators::CONDITIONAL, vec![guard, call.args[0].clone(), call.args[1].clone()]).expr;
}

/// `timestamp(x)` becomes `@timestamp(x, "Asia/Shanghai")`, and `duration(x)` `@duration(x)`, in every place.
fn tell_the_zone(ast: &mut IdedExpr, zone: TimeZone) {
    for child in children_mut(&mut ast.expr) {
        tell_the_zone(child, zone);
    }
    match &mut ast.expr {
        Expr::Call(call) if call.target.is_none() && call.func_name == "timestamp" => {
            TIMESTAMP.clone_into(&mut call.func_name);
            call.args.push(literal(LiteralValue::String(CelString::from(zone.to_string()))));
        }
        Expr::Call(call) if call.target.is_none() && call.func_name == "duration" => {
            DURATION.clone_into(&mut call.func_name);
        }
        _ => {}
    }
}

/// `string(x)` becomes `string(@digits(x))`, in every place.
fn keep_digits(ast: &mut IdedExpr) {
    for child in children_mut(&mut ast.expr) {
        keep_digits(child);
    }
    if let Expr::Call(CallExpr { func_name, target: None, args }) = &mut ast.expr
        && func_name == "string"
        && args.len() == 1
    {
        *args = vec![function(DIGITS, std::mem::take(args))];
    }
}

/// Makes each turn of each loop ask for [`GOES_ON`], where its absence is an error that nothing absorbs: in the condition, or,
/// where that is a constant, in the step. The interpreter appends in place for `map` and `filter`, as long as their condition is
/// a constant and their step has the form that it has here before and after.
fn make_loops_interruptible(ast: &mut IdedExpr) {
    for child in children_mut(&mut ast.expr) {
        make_loops_interruptible(child);
    }
    let Expr::Comprehension(comprehension) = &mut ast.expr else { return };
    if !matches!(comprehension.loop_cond.expr, Expr::Literal(_)) {
        return ask(&mut comprehension.loop_cond);
    }
    match &mut comprehension.loop_step.expr {
        Expr::Call(call) if call.func_name == operators::CONDITIONAL && call.args.len() == 3 => ask(&mut call.args[0]),
        Expr::Call(CallExpr { func_name, args, .. }) if func_name == operators::ADD && args.len() == 2 => {
            match &mut args[1].expr {
                Expr::List(list) => list.elements.iter_mut().for_each(ask),
                _ => ask(&mut args[1]),
            }
        }
        _ => ask(&mut comprehension.loop_step),
    }
}

/// `x` becomes `@goes_on ? x : false`.
fn ask(ast: &mut IdedExpr) {
    let no = literal(LiteralValue::Boolean(CelBool::from(false)));
    let asked = std::mem::replace(ast, node(Expr::Unspecified));
    *ast = function(operators::CONDITIONAL, vec![node(Expr::Ident(GOES_ON.to_owned())), asked, no]);
}

/// True if every step of the chain exists and is not null.
fn present(ast: &IdedExpr) -> IdedExpr {
    let not_null = function(operators::NOT_EQUALS, vec![ast.clone(), literal(LiteralValue::Null)]);
    let Some((operand, step)) = last_step(ast) else { return not_null };
    let exists = match step {
        Step::Field(field) => {
            node(Expr::Select(SelectExpr { operand: Box::new(operand.clone()), field: field.to_owned(), test: true }))
        }
        Step::Key(key) => {
            let key = literal(LiteralValue::String(CelString::from(key.to_owned())));
            function(operators::IN, vec![key, operand.clone()])
        }
        Step::Index(i) => {
            let size = function("size", vec![operand.clone()]);
            let index = literal(LiteralValue::Int(CelInt::from(i64::try_from(i).unwrap_or(i64::MAX))));
            function(operators::GREATER, vec![size, index])
        }
    };
    let above = function(operators::LOGICAL_AND, vec![present(operand), exists]);
    function(operators::LOGICAL_AND, vec![above, not_null])
}

/// Nodes made here have no place in the source: id 0.
fn node(expr: Expr) -> IdedExpr {
    IdedExpr { id: 0, expr }
}

fn literal(value: LiteralValue) -> IdedExpr {
    node(Expr::Literal(value))
}

fn function(name: &str, args: Vec<IdedExpr>) -> IdedExpr {
    node(Expr::Call(CallExpr { func_name: name.to_owned(), target: None, args }))
}

/// The direct parts of a node.
fn children_mut(expr: &mut Expr) -> Vec<&mut IdedExpr> {
    match expr {
        Expr::Call(call) => call.target.iter_mut().map(Box::as_mut).chain(call.args.iter_mut()).collect(),
        Expr::Comprehension(c) => {
            vec![&mut c.iter_range, &mut c.accu_init, &mut c.loop_cond, &mut c.loop_step, &mut c.result]
        }
        Expr::List(list) => list.elements.iter_mut().collect(),
        Expr::Map(map) => map
            .entries
            .iter_mut()
            .flat_map(|entry| match &mut entry.expr {
                EntryExpr::MapEntry(e) => vec![&mut e.key, &mut e.value],
                EntryExpr::StructField(f) => vec![&mut f.value],
            })
            .collect(),
        Expr::Select(select) => vec![select.operand.as_mut()],
        Expr::Struct(s) => s
            .entries
            .iter_mut()
            .map(|entry| match &mut entry.expr {
                EntryExpr::MapEntry(e) => &mut e.value,
                EntryExpr::StructField(f) => &mut f.value,
            })
            .collect(),
        Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => Vec::new(),
    }
}
