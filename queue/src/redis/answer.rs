//! Reads what a script answered, field by field and by name: an error tells which script, and which field of it.

use redis::{FromRedisValue, Value};

use crate::QueueError;
use crate::redis::foreign_text::visible;

/// The fields of an answer (or of one row in it) that are still to be read, in the script's order.
pub(crate) struct Answer {
    script: &'static str,
    /// The field that this is a row of, if it is one.
    rows: Option<&'static str>,
    fields: std::vec::IntoIter<Value>,
}

impl Answer {
    /// The answer of `script`, which is the path of its file below `src`.
    ///
    /// # Errors
    /// `Data` if the answer is not an array.
    pub(crate) fn new(script: &'static str, answer: Value) -> Result<Self, QueueError> {
        Self::array(script, None, answer)
    }

    fn array(script: &'static str, rows: Option<&'static str>, value: Value) -> Result<Self, QueueError> {
        match value {
            Value::Array(fields) => Ok(Self { script, rows, fields: fields.into_iter() }),
            Value::Nil | Value::Int(_) | Value::BulkString(_) | Value::SimpleString(_) => {
                Err(unreadable(script, rows.unwrap_or("the answer"), "it is not an array"))
            }
            other => {
                let fields = Vec::<Value>::from_redis_value(other);
                let fields = fields.map_err(|error| unreadable(script, rows.unwrap_or("the answer"), error))?;
                Ok(Self { script, rows, fields: fields.into_iter() })
            }
        }
    }

    /// The next field.
    ///
    /// # Errors
    /// `Data` if there is none, or it is of another type.
    pub(crate) fn read<T: FromRedisValue>(&mut self, field: &'static str) -> Result<T, QueueError> {
        let value = self.value(field)?;
        T::from_redis_value(value).map_err(|error| self.unreadable(field, error))
    }

    /// The next field; the default value where the script sent no further field.
    ///
    /// # Errors
    /// `Data` if it is of another type.
    pub(crate) fn read_if_sent<T: FromRedisValue + Default>(&mut self, field: &'static str) -> Result<T, QueueError> {
        if self.fields.len() == 0 { Ok(T::default()) } else { self.read(field) }
    }

    /// The next field, an array of rows with fields of their own.
    ///
    /// # Errors
    /// `Data` if it is not one, and what `row` says of a row.
    pub(crate) fn rows<T>(
        &mut self,
        field: &'static str,
        row: impl Fn(&mut Answer) -> Result<T, QueueError>,
    ) -> Result<Vec<T>, QueueError> {
        let value = self.value(field)?;
        let rows = Self::array(self.script, Some(field), value)?.fields;
        rows.map(|value| row(&mut Self::array(self.script, Some(field), value)?)).collect()
    }

    /// The next field, an array with fields of its own; `None` where the script answered `false`.
    ///
    /// # Errors
    /// `Data` if it is neither.
    pub(crate) fn optional(&mut self, field: &'static str) -> Result<Option<Answer>, QueueError> {
        match self.value(field)? {
            Value::Nil | Value::Boolean(false) => Ok(None),
            value => Self::array(self.script, Some(field), value).map(Some),
        }
    }

    fn value(&mut self, field: &'static str) -> Result<Value, QueueError> {
        self.fields.next().ok_or_else(|| self.unreadable(field, "it is missing"))
    }

    /// The error of a field that cannot be what it is.
    pub(crate) fn unreadable(&self, field: &str, why: impl std::fmt::Display) -> QueueError {
        match self.rows {
            Some(rows) => unreadable(self.script, &format!("{rows}.{field}"), why),
            None => unreadable(self.script, field, why),
        }
    }
}

/// Reads an answer that is one value, called `field`.
///
/// # Errors
/// `Data` if it is of another type.
pub(crate) fn read_single<T: FromRedisValue>(
    script: &'static str,
    field: &'static str,
    answer: Value,
) -> Result<T, QueueError> {
    T::from_redis_value(answer).map_err(|error| unreadable(script, field, error))
}

fn unreadable(script: &str, field: &str, why: impl std::fmt::Display) -> QueueError {
    QueueError::Data(format!("the answer of the script {script}, field {field}: {}", visible(&why.to_string())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Value {
        Value::BulkString(text.into())
    }

    #[test]
    fn fields_are_read_in_order_and_rows_within_them() {
        let row = |id: &str| Value::Array(vec![text(id), Value::Int(2)]);
        let answer = Value::Array(vec![Value::Int(7), Value::Array(vec![row("a"), row("b")]), Value::Nil]);
        let mut answer = Answer::new("claim.lua", answer).unwrap();
        assert_eq!(answer.read::<u64>("total").unwrap(), 7);
        let rows = answer.rows("jobs", |row| Ok((row.read::<String>("id")?, row.read::<u32>("attempt")?))).unwrap();
        assert_eq!(rows, [("a".to_owned(), 2), ("b".to_owned(), 2)]);
        assert!(answer.optional("activity").unwrap().is_none());
        assert_eq!(answer.read_if_sent::<Vec<u8>>("meta").unwrap(), Vec::<u8>::new());
    }

    #[test]
    fn an_error_names_the_script_and_the_field() {
        let message = |error: QueueError| error.to_string();
        let jobs = Value::Array(vec![Value::Array(vec![text("a"), text("two")])]);
        let mut answer = Answer::new("claim.lua", Value::Array(vec![jobs])).unwrap();
        let read = |row: &mut Answer| Ok((row.read::<String>("id")?, row.read::<u32>("attempt")?));
        let wrong = message(answer.rows("jobs", read).unwrap_err());
        assert!(wrong.contains("claim.lua, field jobs.attempt: "), "{wrong}");
        let missing = message(answer.read::<u64>("dropped").unwrap_err());
        assert!(missing.ends_with("claim.lua, field dropped: it is missing"), "{missing}");
        assert!(message(Answer::new("claim.lua", Value::Int(1)).err().unwrap()).contains("not an array"));
        let single = message(read_single::<u64>("purge.lua", "removed", text("x")).unwrap_err());
        assert!(single.contains("purge.lua, field removed: "), "{single}");
    }
}
