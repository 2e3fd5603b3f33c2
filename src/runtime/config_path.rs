//! The configuration file that a registry's command line names.
//!
//! It parses a command line, and opens no file.

/// The configuration file in a command line: the last argument that ends in `.yml` or `.yaml`.
pub(crate) fn config_file<'w>(command_line: impl DoubleEndedIterator<Item = &'w String>) -> Option<&'w str> {
    command_line
        .rev()
        .map(String::as_str)
        .find(|argument| argument.ends_with(".yml") || argument.ends_with(".yaml"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configuration_is_the_last_yaml_file_of_a_command() {
        let command_line = ["registry", "serve", "a.yml", "/etc/b.yaml", "--flag"].map(str::to_owned);
        assert_eq!(config_file(command_line.iter()), Some("/etc/b.yaml"));
        assert_eq!(config_file(command_line[..2].iter()), None);
    }
}
