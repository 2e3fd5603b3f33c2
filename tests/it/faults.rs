//! Faults between regsweep and a real registry: nothing is deleted that should be kept, what should be deleted is
//! deleted by the next run without faults, and the journal says exactly what was done.
//!
//! Every test compares the storage and the access log of a real registry with what regsweep noted.

mod deleting;
mod harness;
mod outages;
mod random;
mod reading;
mod timeouts;
mod unreachable;
