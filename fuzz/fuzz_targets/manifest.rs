#![no_main]

libfuzzer_sys::fuzz_target!(init: quietwatch::fuzzing::start(), |data: &[u8]| quietwatch::fuzzing::run("manifest", data));
