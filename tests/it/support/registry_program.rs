//! The program of the registry that the tests, the soak and the benchmark run.

use std::path::PathBuf;
use std::sync::OnceLock;

/// The absolute path of the registry's program: what `REGISTRY_BIN` names, else Debian's
/// `docker-registry` from the `PATH`.
pub fn registry_program() -> &'static str {
    static PROGRAM: OnceLock<String> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let named = std::env::var_os("REGISTRY_BIN").filter(|named| !named.is_empty());
        let named = PathBuf::from(named.unwrap_or_else(|| "docker-registry".into()));
        let path = std::env::var_os("PATH").unwrap_or_default();
        // A name without a slash is looked for on the PATH, as a shell does.
        let folders = std::env::split_paths(&path).filter(|_| named.components().count() == 1);
        let found = folders.map(|folder| folder.join(&named)).find(|one| one.is_file());
        let found = found.unwrap_or(named).canonicalize();
        let found = found.unwrap_or_else(|error| {
            panic!(
                "the registry's program: {error}; run `make check`, which installs it, or set REGISTRY_BIN"
            )
        });
        found.display().to_string()
    })
}
