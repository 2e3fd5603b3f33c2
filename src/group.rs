//! Programs that are ended together with everything they started.
//!
//! It knows processes, and nothing of what they are for.

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::Child;

/// The process group of a child that leads one. It is killed when this is dropped.
pub(crate) struct Group(Option<Pid>);

impl Group {
    /// The group that this child leads.
    pub(crate) fn of(child: &Child) -> Self {
        let pid = |id: u32| Pid::from_raw(i32::try_from(id).ok()?);
        Self(child.id().and_then(pid))
    }

    /// Lets it be: the child has been waited for, and its number may be somebody else's soon.
    pub(crate) fn forget(&mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(pid) = self.0 {
            // It fails where nothing is left to kill.
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }
}
