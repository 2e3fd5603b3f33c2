//! What users must be able to trust, asserted on a real registry.
//!
//! Every test is a sentence. It starts a registry of its own, lets regsweep do something, and then looks
//! at the registry's storage, at its access log and at what skopeo can pull: never only at what
//! regsweep says of itself.

mod access;
mod collection;
mod damage;
mod families;
mod guards;
mod harness;
mod looking;
mod meanwhile;
mod referrers;
mod stop;
