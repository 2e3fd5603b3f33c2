#!/bin/sh
# Runs every fuzz target for FUZZ_SECONDS (default 30). A finding ends it, and it says where the input lies.
set -eu
cd "$(dirname "$0")/.."
seconds=${FUZZ_SECONDS:-30}
if ! cargo fuzz --version >/dev/null 2>&1; then
    echo "installing cargo-fuzz"
    cargo install cargo-fuzz --locked
fi
# Nothing of ours is unsafe, so the targets look for panics alone. FUZZ_SANITIZER=address looks at what it is
# built on, too, with a nightly compiler and half an hour for the build.
sanitizer=${FUZZ_SANITIZER:-none}
toolchain=+nightly
[ "$sanitizer" = none ] && toolchain=''
# shellcheck disable=SC2086 # an empty toolchain is no argument
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
        echo "cargo ${toolchain:+$toolchain }fuzz run --sanitizer $sanitizer $target FILE shows it again" >&2
        rm "$log"
        exit 1
    fi
    grep -E 'number_of_executed_units|peak_rss' "$log"
    rm "$log"
done
