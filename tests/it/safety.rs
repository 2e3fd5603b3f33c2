//! What users must be able to trust, asserted on a real registry.
//!
//! Every test is a sentence. It starts a registry of its own, lets regsweep do something, and then checks
//! the registry's storage, its access log and what skopeo can pull: never only what
//! regsweep says of itself.

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
