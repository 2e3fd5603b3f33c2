//! Watches the configuration file for changes of its content.

use std::path::Path;

use crate::config;

/// The configuration file, and its content when it was last loaded.
pub(super) struct ConfigFile<'a> {
    path: &'a Path,
    seen: Option<Vec<u8>>,
    is_missing: bool,
}

impl<'a> ConfigFile<'a> {
    /// A file with this content; `None` if it could not be read.
    pub(super) fn new(path: &'a Path, seen: Option<Vec<u8>>) -> Self {
        Self { path, seen, is_missing: false }
    }

    pub(super) fn path(&self) -> &'a Path {
        self.path
    }

    /// Whether the content has changed since it was last loaded. A missing file counts the second time only, because some
    /// editors remove a file for a moment before they write it again.
    pub(super) fn has_changed(&mut self) -> bool {
        let content = config::read_bytes(self.path).ok();
        let has_changed = content != self.seen && (content.is_some() || self.is_missing);
        self.is_missing = content.is_none();
        has_changed
    }

    /// Remembers the current content as the loaded one.
    pub(super) fn mark_loaded(&mut self) {
        self.seen = config::read_bytes(self.path).ok();
    }

    /// Lets the next check report a change, so that the file is loaded again.
    pub(super) fn load_again(&mut self) {
        self.seen = None;
    }
}
