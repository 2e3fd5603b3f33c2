#!/bin/bash
# A tour of regsweep on a temporary registry: plan, explain, run, undo, and a service that collects garbage.
#
# As root, the registry runs in a container of a private Docker Engine, and regsweep collects through that Engine. Otherwise
# the registry runs as a process, and regsweep collects by commands. Everything is removed at the end.
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}/debug
PATH=$target:$target/examples:$PATH:/usr/sbin:/sbin
work=$(mktemp -d)
engine= service=

steps=0

# The heading of the next step.
step() { steps=$((steps + 1)); printf '\n\033[1m== %d. %s\033[0m\n' "$steps" "$*"; }

# Prints a command and runs it.
run() { printf '$ %s\n' "$*"; "$@"; }

# A free port below the range that the system assigns to clients.
free_port() {
    local port
    while port=$((20000 + RANDOM % 10000)); (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do :; done
    echo "$port"
}

# Waits up to a minute for a command to succeed.
wait_for() {
    for _ in $(seq 600); do
        "$@" >/dev/null 2>&1 && return 0
        sleep 0.1
    done
    echo "error: this did not succeed within a minute: $*" >&2
    return 1
}

stop() { [ -z "$1" ] || { kill "$1" 2>/dev/null && wait "$1" 2>/dev/null; } || true; }

cleanup() {
    stop "$service"
    if [ -n "$engine" ]; then
        docker rm -f registry >/dev/null 2>&1 || true
        stop "$engine"
        while read -r _ place _; do
            case $place in "$work"/*) umount -l "$place" ;; esac
        done </proc/self/mounts
    elif [ -e "$work/registry.pid" ]; then
        "$work/stop" || true
    fi
    rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

port=$(free_port)
store=$work/store
mkdir -p "$store"
url=http://127.0.0.1:$port
cat >"$work/registry.yml" <<YAML
version: 0.1
log: { level: error, accesslog: { disabled: true } }
storage:
  filesystem: { rootdirectory: ROOT }
  delete: { enabled: true }
  cache: { blobdescriptor: inmemory }
http: { addr: "127.0.0.1:$port" }
YAML

# Starts a private Docker Engine with a registry in a container, whose image is made from this machine's registry program.
registry_in_a_container() {
    [ "$(id -u)" = 0 ] && command -v dockerd >/dev/null || return 1
    export DOCKER_HOST=unix://$work/docker.sock
    dockerd --data-root "$work/docker" --exec-root "$work/exec" --pidfile "$work/docker.pid" \
        --host "$DOCKER_HOST" --iptables=false --ip6tables=false --bridge=none >"$work/docker.log" 2>&1 &
    engine=$!
    for _ in $(seq 150); do
        docker info >/dev/null 2>&1 && break
        kill -0 "$engine" 2>/dev/null || { engine=; return 1; }
        sleep 0.1
    done
    local tree=$work/tree binary
    binary=$(command -v docker-registry)
    mkdir -p "$tree/bin" "$tree/etc/docker/registry" "$tree/tmp"
    cp "$binary" "$tree/bin/registry"
    ldd "$binary" | grep -o '/[^ ]*' | while read -r library; do
        mkdir -p "$tree$(dirname "$library")"
        cp -L "$library" "$tree$library"
    done
    sed 's|ROOT|/var/lib/registry|' "$work/registry.yml" >"$tree/etc/docker/registry/config.yml"
    tar -C "$tree" -c . | docker import --change 'ENTRYPOINT ["/bin/registry"]' \
        --change 'CMD ["serve", "/etc/docker/registry/config.yml"]' - registry:demo >/dev/null
    docker run --detach --name registry --network host --restart unless-stopped \
        --volume "$store:/var/lib/registry" registry:demo >/dev/null
    gc="docker: { container: registry }"
    method="It stops the registry, collects in a separate container, and starts the registry again."
}

# Starts the registry as a process.
registry_on_the_host() {
    sed -i "s|ROOT|$store|" "$work/registry.yml"
    printf '#!/bin/sh\ndocker-registry serve %s >%s/registry.log 2>&1 </dev/null &\necho $! >%s/registry.pid\n' \
        "$work/registry.yml" "$work" "$work" >"$work/start"
    printf '#!/bin/sh\nkill "$(cat %s/registry.pid)"\n' "$work" >"$work/stop"
    chmod +x "$work/start" "$work/stop"
    "$work/start"
    gc="command: { before: [$work/stop], run: [docker-registry, garbage-collect, $work/registry.yml], after: [$work/start] }"
    method="It stops the registry, collects and starts it again by commands, because a private Docker Engine needs root and docker.io."
}

step "Start a temporary registry and push small images to it"
registry_in_a_container || registry_on_the_host
wait_for curl -fsS "$url/v2/"
fill "$url"

step "Write the configuration: one policy with four rules"
page=$(free_port)
cat >"$work/regsweep.yaml" <<YAML
mode: enforce
schedule: "*/10 * * * * *"       # every 10 seconds, for this demo; typical: "0 3 * * *"
listen: 127.0.0.1:$page
state_dir: $work/state
registries:
  - name: demo
    url: $url
    gc:
      $gc
      grace: 5s                  # the time in which you can undo deletions; typical: 7d
protect:
  tags: [latest, prod]
policies:
  - name: apps
    repositories: ['team/.*', 'charts/.*']
    rules:
      - name: pull-requests
        tags: 'pr-\d+'
        keep: { newer_than: 14d }
      - name: releases
        tags: 'v?\d+\.\d+\.\d+.*'
        keep: { versions: { newest: 1, per: minor } }
      - name: nightly
        tags: 'nightly-(?<branch>.+)-\d{8}'
        group_by: [branch]
        keep: { newest: 2, daily: 7, weekly: 3 }
      - name: the-rest
        tags: '.*'
        keep: { newest: 2 }
YAML
export REGSWEEP_CONFIG=$work/regsweep.yaml
export RUST_LOG=error
run cat "$REGSWEEP_CONFIG"

step "Check the configuration, and whether the registry answers and can delete"
run regsweep check --connect

step "See what a run would delete, and why"
run regsweep plan

step "Ask why one image is kept: pr-3 is older than 14 days"
run regsweep explain team/web:pr-3

step "Run once by hand; the deleted images can be restored until the collection, 5 seconds later (gc.grace)"
echo '$ regsweep run | tail -n 3'
regsweep run | tail -n 3

step "List the deletions in a repository, and undo one of them"
run regsweep history --repository team/signed
run regsweep undo 1 team/signed:pr-1

step "Start the service, which collects the garbage when the grace is over"
echo "$method"
blobs() { find "$store" -path '*/blobs/*' -name data -printf '%s\n' | awk '{ sum += $1 } END { print sum + 0 }'; }
metrics() { curl -fsS "http://127.0.0.1:$page/metrics"; }
collected() { metrics | grep '^regsweep_reclaimed_bytes_total' | grep -qv ' 0$'; }
before=$(blobs)
printf '$ regsweep serve &\n'
RUST_LOG=info,tokio_cron_scheduler=warn regsweep serve >"$work/log" 2>&1 &
service=$!
wait_for collected
grep 'collection ended' "$work/log"

step "Compare the bytes on disk with the metric of the service"
echo "blobs on disk: $before bytes before, $(blobs) bytes after"
printf '$ curl http://127.0.0.1:%s/metrics | grep ^regsweep_reclaimed_bytes_total\n' "$page"
metrics | grep '^regsweep_reclaimed_bytes_total'

step "List the images that are left"
run regsweep ls

step "Pull every image that is left, with all children of indexes"
regsweep ls --output json |
    jq -r '.repositories[] | .repository as $r | .manifests[].tags[] | "\($r):\(.)"' >"$work/left"
while read -r image; do
    skopeo copy --quiet --all --src-tls-verify=false \
        "docker://127.0.0.1:$port/$image" "dir:$work/pulled" </dev/null
    rm -rf "$work/pulled"
done <"$work/left"
echo "pulled $(wc -l <"$work/left") tags with skopeo"

step "Plan again: nothing is left to delete"
run regsweep plan

step "Open the web page of the service: http://127.0.0.1:$page/"
if [ -t 0 ] && [ -t 1 ]; then
    read -r -p "Press Enter to end the demo and remove everything. "
fi
