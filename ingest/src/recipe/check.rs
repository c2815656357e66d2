//! What can be said against an expression before any job runs: unknown variables and functions, wrong arguments of our
//! functions, formats and defaults that can never be read.

use std::str::FromStr;

use cel::common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedExpr, LiteralValue};
use cel::common::types::CelString;
use strum::IntoEnumIterator;

use super::eval::calendar::Format;
use super::eval::functions::{self, RecipeFunction, TimeUnit};
use super::eval::interpreter::interpreter;
use super::eval::value::{Value, shorten};

/// The fields of `job`.
const JOB_FIELDS: [&str; 8] = ["id", "queue", "function", "args", "kwargs", "fields", "attempt", "enqueued_at"];

/// Functions of CEL and its string, list and math extensions, for suggestions only: whether a function exists is asked
/// of the interpreter.
const FUNCTIONS: &[&str] = &[
    "bool",
    "bytes",
    "double",
    "duration",
    "dyn",
    "has",
    "int",
    "size",
    "string",
    "type",
    "uint",
    "optional.of",
    "optional.none",
    "optional.ofNonZeroValue",
    "lists.range",
    "strings.quote",
    "math.abs",
    "math.ceil",
    "math.floor",
    "math.greatest",
    "math.isFinite",
    "math.isInf",
    "math.isNaN",
    "math.least",
    "math.round",
    "math.sign",
    "math.sqrt",
    "math.trunc",
];

/// Methods of CEL and the same extensions, for suggestions only.
const METHODS: &[&str] = &[
    "all",
    "charAt",
    "contains",
    "distinct",
    "endsWith",
    "exists",
    "exists_one",
    "filter",
    "flatten",
    "format",
    "getDate",
    "getDayOfMonth",
    "getDayOfWeek",
    "getDayOfYear",
    "getFullYear",
    "getHours",
    "getMilliseconds",
    "getMinutes",
    "getMonth",
    "getSeconds",
    "hasValue",
    "indexOf",
    "join",
    "lastIndexOf",
    "lowerAscii",
    "map",
    "matches",
    "or",
    "orValue",
    "replace",
    "reverse",
    "size",
    "slice",
    "sort",
    "sortBy",
    "split",
    "startsWith",
    "substring",
    "trim",
    "upperAscii",
    "value",
];

/// Which variables an expression may use, besides `job`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Visible {
    pub(super) record: bool,
    pub(super) item: bool,
    /// Whether it belongs to a child, where `parent.id` may stand.
    pub(super) child: bool,
}

impl Visible {
    fn names(self) -> Vec<&'static str> {
        let mut names = vec!["job"];
        names.extend(self.record.then_some("record"));
        names.extend(self.item.then_some("item"));
        names
    }
}

/// Whether the expression is exactly `parent.id`.
pub(super) fn is_parent_id(ast: &IdedExpr) -> bool {
    matches!(&ast.expr, Expr::Select(s) if s.field == "id" && !s.test && is_ident(&s.operand, "parent"))
}

/// Everything wrong with the expression; empty if nothing is.
pub(super) fn check(ast: &IdedExpr, visible: Visible) -> Vec<String> {
    let mut checker = Checker { visible, bound: Vec::new(), found: Vec::new() };
    checker.walk(ast);
    checker.found.dedup();
    checker.found
}

fn is_ident(ast: &IdedExpr, name: &str) -> bool {
    matches!(&ast.expr, Expr::Ident(n) if n == name)
}

struct Checker {
    visible: Visible,
    /// Variables of the loops around the current node.
    bound: Vec<String>,
    found: Vec<String>,
}

impl Checker {
    fn walk(&mut self, ast: &IdedExpr) {
        match &ast.expr {
            Expr::Unspecified | Expr::Literal(_) => {}
            Expr::Ident(name) => self.variable(name, ast),
            Expr::Select(select) => {
                if is_ident(&select.operand, "job") && !self.is_bound("job") {
                    self.job_field(&select.field);
                }
                if is_type_name(ast) {
                    return;
                }
                self.walk(&select.operand);
            }
            Expr::Call(call) => self.call(call),
            Expr::List(list) => list.elements.iter().for_each(|e| self.walk(e)),
            Expr::Map(map) => {
                for entry in &map.entries {
                    if let EntryExpr::MapEntry(entry) = &entry.expr {
                        self.walk(&entry.key);
                        self.walk(&entry.value);
                    }
                }
            }
            Expr::Struct(s) => {
                self.found.push(format!("{}{{...}} makes a message, which recipes do not have", s.type_name));
            }
            Expr::Comprehension(c) => self.comprehension(c),
        }
    }

    fn comprehension(&mut self, c: &ComprehensionExpr) {
        self.walk(&c.iter_range);
        self.walk(&c.accu_init);
        let outer = self.bound.len();
        self.bound.extend([c.iter_var.clone(), c.accu_var.clone()]);
        self.bound.extend(c.iter_var2.clone());
        for part in [&c.loop_cond, &c.loop_step, &c.result] {
            self.walk(part);
        }
        self.bound.truncate(outer);
    }

    fn is_bound(&self, name: &str) -> bool {
        self.bound.iter().any(|b| b == name)
    }

    fn variable(&mut self, name: &str, ast: &IdedExpr) {
        let names = self.visible.names();
        if self.is_bound(name) || names.contains(&name) || is_type_name(ast) {
            return;
        }
        self.found.push(match name {
            "parent" if self.visible.child => {
                "parent.id is not a value yet when the row is made: it can only be the whole expression of a column"
                    .into()
            }
            "parent" => "parent.id exists only in the columns of children".into(),
            "item" => "there is no item here: only a table with forEach has one".into(),
            "record" => "there is no record yet: this expression says where it is".into(),
            _ => {
                let candidates = names.iter().chain(&["parent.id"][..usize::from(self.visible.child)]).copied();
                match similar(name, candidates) {
                    Some(near) => format!("unknown variable {name}; did you mean {near}?"),
                    None => format!(
                        "unknown variable {name}; there are {}{}",
                        names.join(", "),
                        if self.visible.record {
                            format!(" (a field of the record is record.{name})")
                        } else {
                            String::new()
                        }
                    ),
                }
            }
        });
    }

    fn job_field(&mut self, field: &str) {
        if !JOB_FIELDS.contains(&field) {
            let hint = similar(field, JOB_FIELDS).map_or_else(
                || format!("it has {}", JOB_FIELDS.join(", ")),
                |near| format!("did you mean job.{near}?"),
            );
            self.found.push(format!("job has no {field}; {hint}"));
        }
    }

    fn call(&mut self, call: &CallExpr) {
        call.args.iter().for_each(|a| self.walk(a));
        let name = call.func_name.as_str();
        // Operators, and what macros expand to, are spelled `_+_`, `!_`, `@in`: the parser made them.
        if !name.starts_with(|c: char| c.is_ascii_alphabetic()) {
            return call.target.iter().for_each(|t| self.walk(t));
        }
        if let Ok(function) = RecipeFunction::from_str(name) {
            self.recipe_function(function, call);
            return call.target.iter().for_each(|t| self.walk(t));
        }
        match &call.target {
            None => {
                if interpreter().undeclared(&probe(None, name)) {
                    self.unknown_function(name);
                }
            }
            Some(target) => {
                let namespace = path_of(target).filter(|path| {
                    let root = path.split('.').next().unwrap_or_default();
                    !self.is_bound(root) && !self.visible.names().contains(&root)
                });
                if namespace.is_some() && !interpreter().undeclared(&probe(Some(target.as_ref().clone()), name)) {
                    return;
                }
                match namespace {
                    Some(path) if FUNCTIONS.iter().any(|f| f.starts_with(&format!("{path}."))) => {
                        self.unknown_function(&format!("{path}.{name}"));
                    }
                    _ => {
                        self.walk(target);
                        self.method(name);
                    }
                }
            }
        }
    }

    fn unknown_function(&mut self, name: &str) {
        let functions = RecipeFunction::iter().map(<&'static str>::from);
        let hint = if interpreter().undeclared(&probe(Some(text("")), name)) {
            similar(name, functions.chain(FUNCTIONS.iter().copied()))
                .map_or_else(String::new, |near| format!("; did you mean {near}()?"))
        } else {
            format!("; it is a method: x.{name}(...)")
        };
        self.found.push(format!("unknown function {name}(){hint}"));
    }

    fn method(&mut self, name: &str) {
        if !interpreter().undeclared(&probe(Some(text("")), name)) {
            return;
        }
        let hint = if interpreter().undeclared(&probe(None, name)) {
            similar(name, METHODS.iter().copied()).map_or_else(String::new, |near| format!("; did you mean .{near}()?"))
        } else {
            format!("; it is a function: {name}(x)")
        };
        self.found.push(format!("unknown method .{name}(){hint}"));
    }

    fn recipe_function(&mut self, function: RecipeFunction, call: &CallExpr) {
        let name: &'static str = function.into();
        let (least, most) = function.arity();
        if call.target.is_some() {
            return self.found.push(format!("{name} is not a method; write {}", function.signature()));
        }
        if !(least..=most).contains(&call.args.len()) {
            let given = call.args.len();
            return self.found.push(format!("{name}() has {given} arguments; write {}", function.signature()));
        }
        let literal = |i: usize| call.args.get(i).and_then(literal_text);
        match function {
            RecipeFunction::Date | RecipeFunction::DateTime => {
                let formats: Vec<&str> = match call.args.get(1).map(|a| &a.expr) {
                    Some(Expr::List(list)) => list.elements.iter().filter_map(literal_text).collect(),
                    _ => literal(1).into_iter().collect(),
                };
                let timed = function == RecipeFunction::DateTime;
                self.found.extend(formats.into_iter().filter_map(|f| Format::parse(f, timed).err()));
                if let Some(default) = literal(2) {
                    self.found.extend(functions::default_date(&Value::Text(default.into())).err());
                }
            }
            RecipeFunction::Number | RecipeFunction::Decimal => {
                if let Some(default) = literal(1) {
                    self.found.extend(functions::number(&Value::Text(default.into()), None).err());
                }
            }
            RecipeFunction::Instant => self.found.extend(literal(1).and_then(|unit| TimeUnit::parse(unit).err())),
            RecipeFunction::Timestamp
            | RecipeFunction::Text
            | RecipeFunction::Json
            | RecipeFunction::Default
            | RecipeFunction::Now => {}
        }
    }
}

fn literal_text(ast: &IdedExpr) -> Option<&str> {
    match &ast.expr {
        Expr::Literal(LiteralValue::String(s)) => Some(s.inner()),
        _ => None,
    }
}

/// Whether an identifier, or a path of them, names a CEL type such as `int` or `google.protobuf.Timestamp`.
fn is_type_name(ast: &IdedExpr) -> bool {
    path_of(ast).is_some() && !interpreter().undeclared(ast)
}

/// `a.b.c` as written.
fn path_of(ast: &IdedExpr) -> Option<String> {
    match &ast.expr {
        Expr::Ident(name) => Some(name.clone()),
        Expr::Select(s) if !s.test => path_of(&s.operand).map(|path| format!("{path}.{}", s.field)),
        _ => None,
    }
}

/// A call without arguments: evaluating it tells whether the function is declared.
fn probe(target: Option<IdedExpr>, name: &str) -> IdedExpr {
    let call = CallExpr { func_name: name.to_owned(), target: target.map(Box::new), args: Vec::new() };
    IdedExpr { id: 0, expr: Expr::Call(call) }
}

fn text(value: &str) -> IdedExpr {
    IdedExpr { id: 0, expr: Expr::Literal(LiteralValue::String(CelString::from(value.to_owned()))) }
}

/// The candidate that a person probably meant.
pub(super) fn similar<'c>(name: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    let name = shorten(name, 64).to_lowercase();
    candidates
        .into_iter()
        .map(|c| (strsim::normalized_damerau_levenshtein(&name, &c.to_lowercase()), c))
        .filter(|(score, _)| *score >= 0.6)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, c)| c)
}
