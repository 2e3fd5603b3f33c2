#!/bin/sh
# Runs every fuzz target for FUZZ_SECONDS (default 30). It ends at the first finding and prints the path of the input.
set -eu
cd "$(dirname "$0")/.."
seconds=${FUZZ_SECONDS:-30}
if ! cargo fuzz --version >/dev/null 2>&1; then
    echo "installing cargo-fuzz"
    cargo install cargo-fuzz --locked
fi
# regsweep has no unsafe code, so by default the targets only look for panics. FUZZ_SANITIZER=address checks the
# dependencies, too; it needs a nightly compiler, and the build takes half an hour.
sanitizer=${FUZZ_SANITIZER:-none}
toolchain=+nightly
[ "$sanitizer" = none ] && toolchain=''
# shellcheck disable=SC2086 # an empty toolchain must not become an argument
cargo $toolchain fuzz build --sanitizer "$sanitizer"
for target in $(cargo fuzz list); do
    echo "fuzzing $target for $seconds s"
    mkdir -p "fuzz/corpus/$target"
    log=$(mktemp)
    # shellcheck disable=SC2086
    if ! cargo $toolchain fuzz run --sanitizer "$sanitizer" "$target" "fuzz/corpus/$target" "fuzz/seeds/$target" -- \
        -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -max_len=65536 -print_final_stats=1 >"$log" 2>&1; then
        tail -n 40 "$log"
        echo "$target found something: the input is in fuzz/artifacts/$target, and" >&2
        echo "cargo ${toolchain:+$toolchain }fuzz run --sanitizer $sanitizer $target FILE reproduces it" >&2
        rm "$log"
        exit 1
    fi
    grep -E 'number_of_executed_units|peak_rss' "$log"
    rm "$log"
done
