//! Where a benchmark's databases stand.

use std::path::Path;

/// A folder on the disk that the build is on, removed with the value: a temporary one may be in memory.
pub fn new() -> std::io::Result<tempfile::TempDir> {
    tempfile::tempdir_in(Path::new(env!("CARGO_MANIFEST_DIR")).join("target"))
}
