//! The fuzz target of the configuration: any bytes are accepted or refused with problems.
//!
//! It exists only for the fuzz targets and for tests.

use super::parse;
use crate::model::sanitize;

/// Parses bytes as a configuration, and opens the files that it names.
pub fn configuration(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match parse(text, "f", &|_| None) {
        Ok(config) => assert!(!config.registries.is_empty() && !config.policies.is_empty()),
        Err(error) => {
            assert!(!error.problems.is_empty());
            for problem in error.problems {
                let message = problem.to_string();
                assert_eq!(sanitize(&message, message.len()), message);
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
        fn any_text_is_accepted_or_refused(text in any::<String>()) {
            configuration(text.as_bytes());
        }
    }
}
