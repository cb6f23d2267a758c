//! The fuzzer: libFuzzer around the target that `FUZZ_TARGET` names. `fuzz/run.sh` builds and runs it.
#![no_main]

use std::sync::OnceLock;

use xprober_fuzz::{Target, plant};

static TARGET: OnceLock<Target> = OnceLock::new();

libfuzzer_sys::fuzz_target!(
    // Before the fuzzer reads its folders, so the seeds are there.
    init: {
        let target = Target::named(&std::env::var("FUZZ_TARGET").unwrap_or_default());
        let target = target.expect("FUZZ_TARGET names a target; fuzz/run.sh lists them");
        if let Some(folder) = std::env::var_os("FUZZ_SEEDS") {
            plant(&target, folder.as_ref()).expect("the seeds can be written");
        }
        TARGET.get_or_init(|| target);
    },
    |bytes: &[u8]| {
        if let Some(target) = TARGET.get() {
            (target.run)(bytes);
        }
    }
);
