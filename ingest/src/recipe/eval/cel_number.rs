//! A number of a record among CEL's values: a double in computations, its own digits elsewhere.

use std::any::Any;
use std::borrow::Cow;

use cel::ExecutionError;
use cel::common::traits::{Adder, Comparer, Divider, Indexer, Multiplier, Negator, Subtractor, Zeroer};
use cel::common::types::{CelDouble, CelString, Type};
use cel::common::value::{CowVal, StaticVal, Val};

/// Everything is left to the double, except its text.
#[derive(Debug)]
pub(crate) struct CelNumber<'v> {
    double: CelDouble,
    digits: Cow<'v, str>,
}

impl<'v> CelNumber<'v> {
    /// The number that `digits` are in JSON.
    pub(crate) fn new(digits: Cow<'v, str>) -> Self {
        Self { double: CelDouble::from(digits.parse::<f64>().unwrap_or(f64::NAN)), digits }
    }
}

/// The digits of a [`CelNumber`]; `None` for other doubles. Types that borrow cannot be told apart by `downcast_ref`, so that it
/// is asked with an index that no expression can make.
pub(crate) fn digits_of(val: &(dyn Val + '_)) -> Option<String> {
    let digits = val.as_indexer()?.get(&DigitsIndex).ok()?;
    digits.downcast_ref::<CelString>().map(|digits| digits.inner().to_owned())
}

impl Val for CelNumber<'_> {
    fn get_type(&self) -> &Type {
        self.double.get_type()
    }

    fn cel_type() -> &'static Type {
        CelDouble::cel_type()
    }

    fn as_adder<'b, 'v>(&'b self) -> Option<&'b (dyn Adder + 'v)>
    where
        Self: 'v,
    {
        self.double.as_adder()
    }

    fn as_comparer(&self) -> Option<&dyn Comparer> {
        self.double.as_comparer()
    }

    fn as_divider<'b, 'v>(&'b self) -> Option<&'b (dyn Divider + 'v)>
    where
        Self: 'v,
    {
        self.double.as_divider()
    }

    fn as_indexer<'b, 'v>(&'b self) -> Option<&'b (dyn Indexer + 'v)>
    where
        Self: 'v,
    {
        Some(self)
    }

    fn as_multiplier<'b, 'v>(&'b self) -> Option<&'b (dyn Multiplier + 'v)>
    where
        Self: 'v,
    {
        self.double.as_multiplier()
    }

    fn as_negator<'b, 'v>(&'b self) -> Option<&'b (dyn Negator + 'v)>
    where
        Self: 'v,
    {
        self.double.as_negator()
    }

    fn as_subtractor<'b, 'v>(&'b self) -> Option<&'b (dyn Subtractor + 'v)>
    where
        Self: 'v,
    {
        self.double.as_subtractor()
    }

    fn as_zeroer(&self) -> Option<&dyn Zeroer> {
        self.double.as_zeroer()
    }

    fn equals(&self, other: &dyn Val) -> bool {
        self.double.equals(other)
    }

    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v>
    where
        Self: 'v,
    {
        Box::new(CelNumber { double: self.double, digits: self.digits.clone() })
    }

    /// `downcast_ref` finds the double, so that a `CelNumber` is one as an operand too.
    fn as_any(&self) -> Option<&dyn Any> {
        Some(&self.double)
    }
}

/// A number has no elements, but its text.
impl Indexer for CelNumber<'_> {
    fn get<'b, 'v>(&'b self, index: &dyn Val) -> Result<CowVal<'b, 'v>, ExecutionError>
    where
        Self: 'v,
    {
        match index.downcast_ref::<DigitsIndex>() {
            Some(DigitsIndex) => Ok(CowVal::owned(CelString::from(self.digits.to_string()))),
            None => Err(no_elements()),
        }
    }

    fn steal<'v>(self: Box<Self>, _: &dyn Val) -> Result<Box<dyn Val + 'v>, ExecutionError>
    where
        Self: 'v,
    {
        Err(no_elements())
    }
}

fn no_elements() -> ExecutionError {
    ExecutionError::no_such_overload("_[_]", vec!["double".to_owned()])
}

/// The index that asks for the text.
#[derive(Debug)]
struct DigitsIndex;

impl Val for DigitsIndex {
    fn get_type(&self) -> &Type {
        <Self as Val>::cel_type()
    }

    fn cel_type() -> &'static Type {
        CelString::cel_type()
    }

    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v> {
        Box::new(Self)
    }

    fn as_any(&self) -> Option<&dyn Any> {
        Some(self)
    }
}

impl StaticVal for DigitsIndex {}
