//! regsweep against those who mean it harm: registries that lie without end, images made to be read badly,
//! configurations that are bombs. It ends, says what is wrong, and deletes nothing that it did not understand.

mod bombs;
mod harness;
mod lists;
mod manifests;
mod words;
