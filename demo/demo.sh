#!/bin/bash
# The main job on a throwaway registry: start it, fill it, plan, run, look at what is left, clean up.
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}/debug
work=$(mktemp -d)
registry=

cleanup() {
    [ -z "$registry" ] || { kill "$registry" 2>/dev/null && wait "$registry" 2>/dev/null; } || true
    rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

step() { printf '\n\033[1m== %s\033[0m\n' "$*"; }
show() { printf '$ %s\n' "$*"; }

# A free port: the kernel names one, and the registry takes it a moment later; if somebody was faster,
# another is tried.
start_registry() {
    for _ in 1 2 3 4 5; do
        port=$((20000 + RANDOM % 20000))
        sed "s/@PORT@/$port/; s|@STORE@|$work/store|" >"$work/registry.yml" <<'YAML'
version: 0.1
log: { level: error, accesslog: { disabled: true } }
storage:
  filesystem: { rootdirectory: @STORE@ }
  delete: { enabled: true }
http: { addr: "127.0.0.1:@PORT@" }
YAML
        docker-registry serve "$work/registry.yml" >"$work/registry.log" 2>&1 &
        registry=$!
        for _ in $(seq 100); do
            kill -0 "$registry" 2>/dev/null || break
            if curl -fsS -o /dev/null "http://127.0.0.1:$port/v2/" 2>/dev/null; then
                kill -0 "$registry" 2>/dev/null && return 0
            fi
            sleep 0.05
        done
        kill "$registry" 2>/dev/null || true
        wait "$registry" 2>/dev/null || true
        registry=
    done
    echo "error: the registry does not start:" >&2
    cat "$work/registry.log" >&2
    return 1
}

step "A throwaway registry with a few dozen small images"
start_registry
"$target/examples/fill" "http://127.0.0.1:$port"

step "The rules"
cat >"$work/regsweep.yaml" <<YAML
mode: enforce
registries:
  - name: demo
    url: http://127.0.0.1:$port
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
PATH=$target:$PATH

step "What would a run do, and why?"
show regsweep plan
regsweep plan

step "Why does pr-3 of team/web stay, although pull requests expire after 14 days?"
show regsweep explain team/web:pr-3
regsweep explain team/web:pr-3

step "Do it"
show regsweep run
regsweep run | tail -n 2

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

step "A second run finds nothing to do"
show regsweep run
regsweep run | tail -n 1

step "The bytes come back when the registry's own collector has run (here: with the registry stopped)"
blobs() { du -sb "$work/store/docker/registry/v2/blobs" | cut -f1; }
before=$(blobs)
kill "$registry" && wait "$registry" 2>/dev/null || true
registry=
docker-registry garbage-collect "$work/registry.yml" >/dev/null 2>&1
echo "blobs: $before bytes before, $(blobs) after"
