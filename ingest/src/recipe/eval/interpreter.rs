//! The CEL interpreter: one environment for the whole process, and a scope per job that converts the record to CEL
//! values only when an expression asks for them.

use std::sync::{Arc, LazyLock, OnceLock};

use cel::common::types::{CelBool, CelDuration, CelInt, CelList, CelMap, CelMapKey, CelNull, CelString, CelTimestamp};
use cel::common::value::{CowVal, Val};
use cel::context::VariableResolver;
use cel::parser::Expression as Ast;
use cel::{Context, Env, ExecutionError, FunctionContext, Value as CelValue, extensions};
use chrono::{DateTime, TimeDelta, Utc};
use jobqueue_json::Value as JsonValue;
use strum::IntoEnumIterator;

use super::cel_number::digits_of;
use super::functions::{self, RecipeFunction};
use super::value::{Value, borrowed_map, borrowed_val};
use crate::{Interrupt, JobInput};

/// Holds the time of the job for `now()`; the `@` keeps expressions from naming it.
const NOW: &str = "@now";
/// True, and gone once the job is interrupted: each turn of each loop asks for it (see [`super::expression`]).
pub(crate) const GOES_ON: &str = "@goes_on";

/// What `timestamp` is called in checked expressions, where it has the zone as second argument: CEL has one of its own.
pub(crate) const TIMESTAMP: &str = "@timestamp";

/// What CEL's `duration` is called there: its own goes through a double, and loses digits of long ones.
pub(crate) const DURATION: &str = "@duration";
/// `@digits(x)`: the text of a number that is in its own digits, else `x`. `string(x)` asks it first (see
/// [`super::expression`]).
pub(crate) const DIGITS: &str = "@digits";

/// The environment and the root context: building them costs a hundred times an evaluation.
pub(crate) struct Interpreter {
    env: Arc<Env>,
    root: Context<'static, 'static>,
}

type Callable =
    Box<dyn for<'b, 'v> Fn(&mut FunctionContext<'b, 'v>) -> Result<CowVal<'b, 'v>, ExecutionError> + Send + Sync>;

static INTERPRETER: LazyLock<Interpreter> = LazyLock::new(Interpreter::new);

/// The process's interpreter.
pub(crate) fn interpreter() -> &'static Interpreter {
    &INTERPRETER
}

impl Interpreter {
    fn new() -> Self {
        let mut env = Env::stdlib();
        env.add_extension(extensions::strings)
            .and_then(|()| env.add_extension(extensions::lists))
            .and_then(|()| env.add_extension(extensions::math))
            .expect("the standard extensions do not clash");
        let env = Arc::new(env);
        let mut root = Context::with_env(Arc::clone(&env));
        for function in RecipeFunction::iter() {
            let call: Callable = Box::new(move |ftx| call(function, ftx));
            let name = if function == RecipeFunction::Timestamp { TIMESTAMP } else { function.into() };
            root.add_function(name, call).expect("no standard function has the name of one of ours");
        }
        let duration: Callable = Box::new(duration);
        root.add_function(DURATION, duration).expect("no standard function has this name");
        let digits: Callable = Box::new(|ftx| match ftx.args.first() {
            Some(x) => {
                Ok(digits_of(x.as_ref()).map_or_else(|| x.clone(), |digits| CowVal::owned(CelString::from(digits))))
            }
            None => Err(ftx.error("write string(x)")),
        });
        root.add_function(DIGITS, digits).expect("no other function has an @");
        Self { env, root }
    }

    /// Parses an expression; the messages say what and where.
    pub(crate) fn parse(&self, source: &str) -> Result<Ast, Vec<String>> {
        let parser = self.env.parser().enable_ident_escape_syntax(true);
        parser.parse(source).map_err(|errors| {
            errors.errors.iter().map(|e| format!("{} (line {}, column {})", e.msg, e.pos.0, e.pos.1)).collect()
        })
    }

    /// Whether evaluating `ast` without any variables meets a name that nothing declares.
    pub(crate) fn undeclared(&self, ast: &Ast) -> bool {
        matches!(CelValue::resolve_val(ast, &self.root), Err(ExecutionError::UndeclaredReference(_)))
    }
}

/// The bridge from CEL's calling convention to [`functions`].
fn call<'b, 'v>(function: RecipeFunction, ftx: &mut FunctionContext<'b, 'v>) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let zone = usize::from(function == RecipeFunction::Timestamp);
    let (least, most) = (function.arity().0 + zone, function.arity().1 + zone);
    if ftx.this.is_some() || !(least..=most).contains(&ftx.args.len()) {
        return Err(ftx.error(format!("write {}", function.signature())));
    }
    let result = match function {
        RecipeFunction::Now => {
            return ftx.ptx.get_variable(NOW).ok_or_else(|| ftx.error("now() is not available here"));
        }
        // The values pass through untouched: a list may hold what JSON cannot.
        RecipeFunction::Default => {
            let chosen = usize::from(is_null(ftx.args[0].as_ref()));
            return Ok(ftx.args[chosen].clone());
        }
        RecipeFunction::Json => match Value::from_val(ftx.args[0].as_ref()) {
            Ok(text @ (Value::Text(_) | Value::Bytes(_))) => functions::json(text),
            _ => return Ok(ftx.args[0].clone()),
        },
        _ => plain(function, &ftx.args),
    };
    result.map(|value| CowVal::Owned(value.into_val())).map_err(|message| ftx.error(message))
}

/// `duration(x)`, of text or of a duration.
fn duration<'b, 'v>(ftx: &mut FunctionContext<'b, 'v>) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let [x] = ftx.args.as_slice() else { return Err(ftx.error("write duration(x)")) };
    if x.downcast_ref::<CelDuration>().is_some() {
        return Ok(x.clone());
    }
    let nanos = match Value::from_val(x.as_ref()) {
        Ok(Value::Text(text)) => functions::duration(&text),
        Ok(other) => Err(format!("{} is {}, not a duration in text", other.shown(), other.kind())),
        Err(message) => Err(message),
    };
    let nanos = nanos.map_err(|message| ftx.error(message))?;
    Ok(CowVal::Owned(Box::new(CelDuration::from(TimeDelta::nanoseconds(nanos)))))
}

fn plain(function: RecipeFunction, args: &[CowVal<'_, '_>]) -> Result<Value<'static>, String> {
    let args = args.iter().map(|a| Value::from_val(a.as_ref())).collect::<Result<Vec<_>, _>>()?;
    match function {
        RecipeFunction::Number => functions::number(&args[0], args.get(1)),
        RecipeFunction::Decimal => functions::decimal(&args[0], args.get(1)),
        RecipeFunction::Timestamp => match &args[1] {
            Value::Text(zone) => functions::timestamp(&args[0], zone.parse().map_err(|error| format!("{error}"))?),
            other => Err(format!("{} is not a time zone", other.shown())),
        },
        RecipeFunction::Instant => functions::instant(&args[0], &args[1]),
        RecipeFunction::Text => functions::text(args.into_iter().next().unwrap_or(Value::Null)).map(Value::into_owned),
        _ => functions::date(function, &args[0], &functions::formats(function, args.get(1))?, args.get(2)),
    }
}

fn is_null(val: &dyn Val) -> bool {
    matches!(Value::from_val(val), Ok(Value::Null))
}

/// What the expressions of one row can see: as JSON, and as CEL values, made when they are asked for.
#[derive(Clone, Copy)]
pub(crate) struct Scope<'s> {
    pub(crate) job: &'s JobInput<'s>,
    /// `None` while the record itself is being extracted.
    pub(crate) record: Option<&'s JsonValue>,
    pub(crate) item: Option<&'s JsonValue>,
    pub(crate) now: DateTime<Utc>,
    pub(crate) vals: &'s dyn VariableResolver,
}

/// The CEL values that all rows of a job share.
pub(crate) struct JobVals<'a> {
    job: &'a JobInput<'a>,
    record: Option<Lazy<'a>>,
    job_val: OnceLock<Box<dyn Val + 'a>>,
    now: CelTimestamp,
    interrupt: &'a Interrupt,
    goes_on: CelBool,
}

impl<'a> JobVals<'a> {
    pub(crate) fn new(
        job: &'a JobInput<'a>,
        record: Option<&'a JsonValue>,
        now: DateTime<Utc>,
        interrupt: &'a Interrupt,
    ) -> Self {
        let now = CelTimestamp::from(now.fixed_offset());
        let goes_on = CelBool::from(true);
        Self { job, record: record.map(Lazy::new), job_val: OnceLock::new(), now, interrupt, goes_on }
    }
}

impl VariableResolver for JobVals<'_> {
    fn resolve<'b>(&'b self, variable: &str) -> Option<CowVal<'b, 'b>> {
        Some(CowVal::Borrowed(match variable {
            "record" => self.record.as_ref()?.val(),
            "job" => self.job_val.get_or_init(|| job_val(self.job)).as_ref(),
            NOW => &self.now,
            GOES_ON if !self.interrupt.is_set() => &self.goes_on,
            _ => return None,
        }))
    }
}

/// The CEL value of a list's element, above those of its job.
pub(crate) struct ItemVals<'a> {
    outer: &'a dyn VariableResolver,
    item: Lazy<'a>,
}

impl<'a> ItemVals<'a> {
    pub(crate) fn new(outer: &'a dyn VariableResolver, item: &'a JsonValue) -> Self {
        Self { outer, item: Lazy::new(item) }
    }
}

impl VariableResolver for ItemVals<'_> {
    fn resolve<'b>(&'b self, variable: &str) -> Option<CowVal<'b, 'b>> {
        if variable == "item" { Some(CowVal::Borrowed(self.item.val())) } else { self.outer.resolve(variable) }
    }
}

/// A JSON value, and its CEL form, made when it is first asked for.
struct Lazy<'a> {
    json: &'a JsonValue,
    val: OnceLock<Box<dyn Val + 'a>>,
}

impl<'a> Lazy<'a> {
    fn new(json: &'a JsonValue) -> Self {
        Self { json, val: OnceLock::new() }
    }

    fn val(&self) -> &(dyn Val + 'a) {
        self.val.get_or_init(|| borrowed_val(self.json)).as_ref()
    }
}

fn job_val<'a>(job: &'a JobInput<'a>) -> Box<dyn Val + 'a> {
    let args: Vec<Box<dyn Val + 'a>> = job.args.iter().map(borrowed_val).collect();
    let fields: [(&str, Box<dyn Val + 'a>); 8] = [
        ("id", Box::new(CelString::from(job.id))),
        ("queue", Box::new(CelString::from(job.queue))),
        ("function", job.function.map_or_else(null, |f| Box::new(CelString::from(f)))),
        ("args", Box::new(CelList::from(args))),
        ("kwargs", borrowed_map(job.kwargs)),
        ("fields", borrowed_map(job.fields)),
        ("attempt", Box::new(CelInt::from(i64::from(job.attempt)))),
        ("enqueued_at", job.enqueued_at.map_or_else(null, |t| Box::new(CelTimestamp::from(t.fixed_offset())))),
    ];
    Box::new(CelMap::from(
        fields.into_iter().map(|(k, v)| (CelMapKey::from(k), v)).collect::<std::collections::HashMap<_, _>>(),
    ))
}

fn null<'a>() -> Box<dyn Val + 'a> {
    Box::new(CelNull)
}

/// Evaluates and hands the value to `read`, while it is alive.
pub(crate) fn evaluate<T>(
    ast: &Ast,
    scope: &Scope<'_>,
    read: impl FnOnce(Result<&dyn Val, &ExecutionError>) -> T,
) -> T {
    let mut context = interpreter().root.new_inner_scope();
    context.set_variable_resolver(scope.vals);
    match CelValue::resolve_val(ast, &context) {
        Ok(val) => read(Ok(val.as_ref())),
        Err(error) => read(Err(&error)),
    }
}
