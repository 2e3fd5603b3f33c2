//! What regsweep remembers, and what that is good for: deletions that can be undone, runs that can be killed
//! at any step, looks that ask for nothing twice, ages that are true.
//!
//! Every test is a sentence. Where the program is run, what it says of itself is compared with the
//! storage and the access log of a real registry; where days have to pass, the library is given the time.

#[allow(dead_code, reason = "it is shared with the tests of the service, and this uses a part")]
mod explain;
mod harness;
mod killed;
mod looks;
mod lost;
mod mended;
mod moved;
mod owners;
mod past;
mod swept;
mod tap;
mod undo;
mod untag;
