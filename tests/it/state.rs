//! The state and what it is for: deletions that can be undone, runs that can be killed
//! at any step, scans that fetch nothing twice, ages that are true.
//!
//! Every test is a sentence. Where the program is run, what it says of itself is compared with the
//! storage and the access log of a real registry; where days have to pass, the library is given the time.

mod collected;
#[allow(dead_code, reason = "it is shared with the tests of the service, and this uses a part")]
mod explain;
mod harness;
mod history;
mod interrupted;
mod interrupting_proxy;
mod killed;
mod lost;
mod read_only;
mod scans;
mod undo;
mod untag;
mod untagged;
