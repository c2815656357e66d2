//! Paths in expressions: `a.b["c"][0]`, one step at a time.

use cel::common::ast::{Expr, IdedExpr, LiteralValue, operators};

/// One step down from a value: `.field`, `["field"]` or `[0]`.
pub(crate) enum Step<'e> {
    Field(&'e str),
    Key(&'e str),
    Index(usize),
}

/// Takes the last step off a chain: `a.b["c"]` is `a.b` and `Key("c")`.
pub(crate) fn last_step(ast: &IdedExpr) -> Option<(&IdedExpr, Step<'_>)> {
    match &ast.expr {
        Expr::Select(select) if !select.test => Some((&select.operand, Step::Field(&select.field))),
        Expr::Call(call) if call.func_name == operators::INDEX => match call.args.as_slice() {
            [operand, IdedExpr { expr: Expr::Literal(LiteralValue::String(key)), .. }] => {
                Some((operand, Step::Key(key.inner())))
            }
            [operand, IdedExpr { expr: Expr::Literal(LiteralValue::Int(i)), .. }] => {
                usize::try_from(*i.inner()).ok().map(|i| (operand, Step::Index(i)))
            }
            _ => None,
        },
        _ => None,
    }
}
