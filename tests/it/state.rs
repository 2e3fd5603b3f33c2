//! The state, and what depends on it: undo, runs that are killed at any step, scans that fetch nothing twice, and ages.
//!
//! Every test is a sentence. Where the program is run, its output is compared with the
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
