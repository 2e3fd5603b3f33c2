//! Bad weather between regsweep and a real registry: whatever comes, nothing goes that should stay, what
//! should go is gone after the next run in good weather, and the journal says exactly what was done.
//!
//! Every test compares the storage and the access log of a real registry with what regsweep noted.

mod deleting;
mod down;
mod gone;
mod harness;
mod mixed;
mod reading;
mod time;
