#!/bin/sh
# Sees to it that programs are there: install.sh PROGRAM:PACKAGE...
# As root on Debian, missing ones are installed; otherwise it says what to install.
set -eu

for tool in cargo cc; do
    command -v "$tool" >/dev/null || {
        echo "error: $tool is missing: install Rust (https://rustup.rs) and a C compiler (apt-get install gcc)" >&2
        exit 1
    }
done

missing=
for pair in "$@"; do
    # Debian keeps servers in sbin, which is not on every PATH.
    PATH=$PATH:/usr/sbin:/sbin command -v "${pair%%:*}" >/dev/null || missing="$missing ${pair#*:}"
done
[ -z "$missing" ] && exit 0

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "installing$missing"
    export DEBIAN_FRONTEND=noninteractive
    # Debian would start the servers that it installs; nobody asked for that.
    policy=/usr/sbin/policy-rc.d
    if [ ! -e "$policy" ]; then
        trap 'rm -f "$policy"' EXIT
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod +x "$policy"
    fi
    # A package list that is old or absent finds nothing, so it is fetched again before giving up.
    # shellcheck disable=SC2086
    set -- apt-get install -y -qq --no-install-recommends $missing
    "$@" >/dev/null 2>&1 || { apt-get update -qq && "$@" >/dev/null; }
else
    echo "error: missing:$missing; install them, for example with: apt-get install$missing" >&2
    exit 1
fi
