//! How a command ends, for scripts.
//!
//! It knows no command.

/// The exit codes, which scripts rely on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Exit {
    /// The command did all of its work.
    Success = 0,
    /// Something failed.
    Failed = 1,
    /// The command line is invalid.
    Usage = 2,
    /// A limit refused part of the work.
    Refused = 3,
    /// The configuration is invalid (`EX_CONFIG` of sysexits).
    Config = 78,
}

impl Exit {
    /// The worse of two exit codes: a failure is worse than a refusal.
    pub(super) fn worse(self, other: Self) -> Self {
        let severity = |exit: Self| match exit {
            Self::Success => 0,
            Self::Refused => 1,
            Self::Failed => 2,
            Self::Usage => 3,
            Self::Config => 4,
        };
        if severity(other) > severity(self) { other } else { self }
    }
}
