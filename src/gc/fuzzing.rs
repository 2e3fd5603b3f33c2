//! The output of a collector, as any bytes.

use crate::gc::sweeper::Findings;
use crate::gc::sweeper::registry::output::Output;
use crate::process::Stream;
use crate::runtime::OutputSink as _;

/// Output of both streams: the first byte is the exit code, and each piece of the rest is a byte that encodes
/// stream and length, and then that many bytes.
pub fn collector(bytes: &[u8]) {
    let (exit, mut rest) = bytes.split_first().map_or((0, bytes), |(first, rest)| (i64::from(*first), rest));
    let (mut strict, mut free) = (Output::default(), Output::default());
    while let Some((first, more)) = rest.split_first() {
        let stream = if first % 2 == 0 { Stream::Stdout } else { Stream::Stderr };
        let (piece, after) = more.split_at(more.len().min(usize::from(first / 2)));
        for output in [&mut strict, &mut free] {
            output.take(stream, piece);
        }
        rest = after;
    }
    for found in [strict.finish(exit), free.finish_unknown_program(exit)] {
        match found {
            Ok(Findings::Eligible { .. }) => assert_eq!(exit, 0, "a failure is not a success"),
            Ok(Findings::EmptyStorage) => assert_ne!(exit, 0, "an empty storage makes the collector fail"),
            Err(error) => assert!(error.to_string().chars().count() < 2000),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn output_of_any_bytes_is_read_or_refused(bytes in any::<Vec<u8>>()) {
            collector(&bytes);
        }
    }
}
