// Included by each binary. The name of the binary is that of its target.

use std::path::Path;
use std::sync::LazyLock;

use fuzz::Target;

static TARGET: LazyLock<Target> = LazyLock::new(|| Target::named(env!("CARGO_BIN_NAME")));

/// Writes the seeds where `run.sh` expects them. libFuzzer reads them afterwards.
fn write_seeds() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    TARGET.write_seeds(&root, &root.join("target/fuzz/seeds").join(TARGET.name));
}

libfuzzer_sys::fuzz_target!(init: write_seeds(), |input: &[u8]| (TARGET.check)(input));
