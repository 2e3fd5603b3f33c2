//! What a configuration file can hold, as any bytes.

use super::parse;
use crate::model::sanitize;

/// A text as the configuration. Files that it names are looked for.
pub fn configuration(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match parse(text, "f", &|_| None) {
        Ok(config) => assert!(!config.registries.is_empty() && !config.policies.is_empty()),
        Err(error) => {
            assert!(!error.problems.is_empty());
            for problem in error.problems {
                let told = problem.to_string();
                assert_eq!(sanitize(&told, told.len()), told);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn whatever_is_written_is_read_or_refused(text in any::<String>()) {
            configuration(text.as_bytes());
        }
    }
}
