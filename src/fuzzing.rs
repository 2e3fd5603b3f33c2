//! What the fuzz targets and the seeds' test call: every reader of foreign bytes, with what must hold of
//! whatever it makes of them.
//!
//! It exists only for them. Each function takes any bytes and panics where a promise is broken.

pub use crate::config::fuzzing::configuration;
pub use crate::gc::fuzzing::collector;
pub use crate::registry::fuzzing::{
    challenge, docker_config, error_body, image_config, link, lists, manifest,
};

#[cfg(test)]
mod tests {
    use super::*;

    /// A fuzz target: its name, and what it calls.
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

    /// Without cargo-fuzz the targets are not built, but each of their lines is checked.
    #[test]
    fn every_target_calls_its_reader_and_reads_its_seeds() {
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
