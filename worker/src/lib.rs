//! The worker: claims jobs, applies them to the database, acknowledges.
