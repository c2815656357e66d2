//! The JobQueue API: types, conditions and validation rules.
