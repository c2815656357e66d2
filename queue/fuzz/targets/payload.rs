//! Any bytes as the `data` field of a job; what must hold for them is in `property.rs`.
#![no_main]

mod property;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    property::check(bytes);
});
