#!/bin/sh
# Checks that programs are installed: install.sh PROGRAM:PACKAGE...
# As root on Debian, it installs the packages of missing programs; otherwise it prints what to install.
set -eu

for tool in cargo cc; do
    command -v "$tool" >/dev/null || {
        echo "error: $tool is missing: install Rust (https://rustup.rs) and a C compiler (apt-get install gcc)" >&2
        exit 1
    }
done

missing=
for pair in "$@"; do
    # Debian installs servers in sbin, which is not on every PATH.
    PATH=$PATH:/usr/sbin:/sbin command -v "${pair%%:*}" >/dev/null || missing="$missing ${pair#*:}"
done
[ -z "$missing" ] && exit 0

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "installing$missing"
    export DEBIAN_FRONTEND=noninteractive
    # Keep Debian from starting the servers that it installs.
    policy=/usr/sbin/policy-rc.d
    if [ ! -e "$policy" ]; then
        trap 'rm -f "$policy"' EXIT
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod +x "$policy"
    fi
    # If the installation fails, the package lists may be missing or old: update them and try again.
    # shellcheck disable=SC2086
    set -- apt-get install -y -qq --no-install-recommends $missing
    "$@" >/dev/null 2>&1 || { apt-get update -qq && "$@" >/dev/null; }
else
    echo "error: missing:$missing; install them, for example with: apt-get install$missing" >&2
    exit 1
fi
