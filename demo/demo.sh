#!/bin/bash
# The whole life of a retention service on a throwaway registry: plan, delete, undo, collect, watch.
#
# The registry runs in a container of a private Docker Engine where one can run (as root), and is collected
# through it; elsewhere it runs on this machine, and is collected by commands.
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}/debug
PATH=$target:$target/examples:$PATH:/usr/sbin:/sbin
work=$(mktemp -d)
engine= service=

step() { printf '\n\033[1m== %s\033[0m\n' "$*"; }
show() { printf '$ %s\n' "$*"; }

# A free port below those that the system gives out by itself.
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
    echo "error: $* does not come true" >&2
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

# A private Docker Engine with a registry in a container, its image made from this machine's programs.
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
    told="through the Docker Engine: stop, collect in a container of its own, start again"
}

# The registry as a process of this machine.
registry_on_the_host() {
    sed -i "s|ROOT|$store|" "$work/registry.yml"
    printf '#!/bin/sh\ndocker-registry serve %s >%s/registry.log 2>&1 </dev/null &\necho $! >%s/registry.pid\n' \
        "$work/registry.yml" "$work" "$work" >"$work/start"
    printf '#!/bin/sh\nkill "$(cat %s/registry.pid)"\n' "$work" >"$work/stop"
    chmod +x "$work/start" "$work/stop"
    "$work/start"
    gc="command: { before: [$work/stop], run: [docker-registry, garbage-collect, $work/registry.yml], after: [$work/start] }"
    told="by commands: no Docker Engine can run here (that takes root, and docker.io)"
}

step "A throwaway registry with a few dozen small images"
registry_in_a_container || registry_on_the_host
wait_for curl -fsS "$url/v2/"
fill "$url"

step "The rules"
page=$(free_port)
cat >"$work/regsweep.yaml" <<YAML
mode: enforce
schedule: "*/2 * * * * *"        # every two seconds; a real one is "0 3 * * *"
listen: 127.0.0.1:$page
state_dir: $work/state
registries:
  - name: demo
    url: $url
    gc:
      $gc
      grace: 5s                  # for people who want to undo something; a real one is 7d
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
cat "$work/regsweep.yaml"
export REGSWEEP_CONFIG=$work/regsweep.yaml
export RUST_LOG=error

step "What would a run do, and why?"
show regsweep plan
regsweep plan

step "Why does pr-3 of team/web stay, although pull requests expire after 14 days?"
show regsweep explain team/web:pr-3
regsweep explain team/web:pr-3

step "Do it once, by hand. The collection waits out the grace"
show regsweep run
regsweep run | tail -n 2

step "Until then every deletion can be undone"
show regsweep history --repository team/signed
regsweep history --repository team/signed
show regsweep undo 1 team/signed:pr-1
regsweep undo 1 team/signed:pr-1

step "The service collects the rest when the grace is over ($told)"
blobs() { find "$store" -path '*/blobs/*' -name data -printf '%s\n' | awk '{ sum += $1 } END { print sum + 0 }'; }
reclaimed() { curl -fsS "http://127.0.0.1:$page/metrics" | grep '^regsweep_reclaimed_bytes_total'; }
collected() { reclaimed | grep -qv ' 0$'; }
before=$(blobs)
show regsweep serve
RUST_LOG=info,tokio_cron_scheduler=warn regsweep serve >"$work/log" 2>&1 &
service=$!
wait_for collected
grep 'the collection ended' "$work/log"
echo
echo "bytes of blobs on the disk: $before before, $(blobs) after; the metric says:"
reclaimed

step "What is left"
show regsweep ls
regsweep ls

step "Every image that is left can be pulled whole, indexes with all their children"
regsweep ls --output json |
    jq -r '.repositories[] | .repository as $r | .manifests[].tags[] | "\($r):\(.)"' >"$work/left"
while read -r image; do
    skopeo copy --quiet --all --src-tls-verify=false \
        "docker://127.0.0.1:$port/$image" "dir:$work/pulled" </dev/null
    rm -rf "$work/pulled"
done <"$work/left"
echo "pulled $(wc -l <"$work/left") tags"

step "The next runs find nothing to do"
show regsweep plan
regsweep plan

step "The page is at http://127.0.0.1:$page/"
if [ -t 0 ] && [ -t 1 ]; then
    read -r -p "Press Enter to end the demo and remove everything. "
fi
