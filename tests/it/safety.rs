//! The guarantees of docs/guarantees.md, asserted on a real registry.
//!
//! Every test is a sentence. It starts a registry of its own, lets regsweep do something, and then checks
//! the registry's storage, its access log and what skopeo can pull: not only the output of
//! regsweep.

mod access;
mod collection;
mod damage;
mod dry_run;
mod harness;
mod indexes;
mod limits_and_protections;
mod rechecks;
mod referrers;
mod stop;
