//! The fuzz targets: every parser of untrusted input, with assertions about its result.
//!
//! It exists only for `make fuzz` and for the tests. Each function accepts any bytes and panics where an assertion
//! fails.

pub use crate::config::fuzzing::configuration;
pub use crate::gc::fuzzing::collector;
pub use crate::registry::fuzzing::{
    challenge, docker_config, error_body, image_config, link, lists, manifest,
};

#[cfg(test)]
mod tests {
    use super::*;

    /// The name of a fuzz target, and its function.
    type Target = (&'static str, fn(&[u8]));

    const TARGETS: [Target; 9] = [
        ("challenge", challenge),
        ("collector", collector),
        ("configuration", configuration),
        ("docker_config", docker_config),
        ("error_body", error_body),
        ("image_config", image_config),
        ("link", link),
        ("lists", lists),
        ("manifest", manifest),
    ];

    fn names(folder: &str) -> Vec<String> {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(folder);
        let entries = std::fs::read_dir(folder).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// The targets are built only with cargo-fuzz, so their source text is checked here.
    #[test]
    fn targets_call_their_function_and_accept_their_seeds() {
        assert_eq!(names("fuzz_targets"), TARGETS.map(|(name, _)| format!("{name}.rs")));
        assert_eq!(names("seeds"), TARGETS.map(|(name, _)| name));
        let root = env!("CARGO_MANIFEST_DIR");
        let manifest = std::fs::read_to_string(format!("{root}/fuzz/Cargo.toml")).unwrap();
        for (name, read) in TARGETS {
            let target = std::fs::read_to_string(format!("{root}/fuzz/fuzz_targets/{name}.rs")).unwrap();
            let call =
                format!("libfuzzer_sys::fuzz_target!(|bytes: &[u8]| regsweep::fuzzing::{name}(bytes));\n");
            assert!(target.ends_with(&call), "{target}");
            assert!(manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")), "{name}");
            let seeds = names(&format!("seeds/{name}"));
            assert!(!seeds.is_empty(), "{name}");
            for seed in seeds {
                read(&std::fs::read(format!("{root}/fuzz/seeds/{name}/{seed}")).unwrap());
            }
        }
    }
}
