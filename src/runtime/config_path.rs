//! The configuration file that a registry's command line names.
//!
//! It reads the words of a command, and opens nothing.

/// The configuration file among the words of a command: the last word that ends in `.yml` or `.yaml`.
pub(crate) fn config_file<'w>(words: impl DoubleEndedIterator<Item = &'w String>) -> Option<&'w str> {
    words.rev().map(String::as_str).find(|word| word.ends_with(".yml") || word.ends_with(".yaml"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configuration_is_the_last_yaml_file_of_a_command() {
        let words = ["registry", "serve", "a.yml", "/etc/b.yaml", "--flag"].map(str::to_owned);
        assert_eq!(config_file(words.iter()), Some("/etc/b.yaml"));
        assert_eq!(config_file(words[..2].iter()), None);
    }
}
