# What a stranger runs. Every target does its own set-up: on Debian as root, what is missing is installed.
.DEFAULT_GOAL := help
.PHONY: help demo check audit bench fuzz soak run build deps-demo deps-check deps-bench deps-soak

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: deps-demo ## Set everything up and show the whole life of a throwaway registry
	@cargo build --quiet --bin regsweep --example fill
	@demo/demo.sh

check: deps-check ## Set everything up and run all checks and tests
	cargo fmt --check
	cargo clippy --all-targets --locked -- --deny warnings
	RUSTDOCFLAGS="--deny warnings" cargo doc --no-deps --locked --quiet
	cargo test --locked
	@echo "all checks passed"

audit: ## Look for known holes, licenses and sources of the dependencies (installs cargo-deny, which takes minutes)
	@cargo deny --version >/dev/null 2>&1 || cargo install --locked cargo-deny
	@if cargo deny fetch db; then cargo deny check; else \
		echo "the advisory database cannot be reached: known holes are not looked for"; \
		cargo deny check bans licenses sources; fi

bench: deps-bench ## Time plans of many tags, and deletions: make bench SIZES="1000 10000" DELETIONS="100 1000" (all: an hour)
	@cargo build --release --locked --quiet --bin regsweep
	@cargo run --locked --quiet --example bench -- target/release/regsweep plans $(SIZES)
	@cargo run --locked --quiet --example bench -- target/release/regsweep deletions $(DELETIONS)

fuzz: ## Feed every reader of foreign bytes with nonsense: make fuzz FUZZ_SECONDS=30 (for each target)
	@fuzz/run.sh

soak: deps-soak ## Let pushes, faults, kills and collections loose on a service for ten minutes: make soak SOAK_SECONDS=60 SOAK_SEED=1
	@cargo build --locked --quiet --bin regsweep --example soak
	@target/debug/examples/soak target/debug/regsweep

run: ## Run regsweep from the sources: make run ARGS="plan --config my.yaml"
	@cargo run --quiet -- $(ARGS)

build: ## Build the release binary, target/release/regsweep
	cargo build --release --locked --bin regsweep

deps-demo:
	@demo/install.sh docker-registry:docker-registry skopeo:skopeo curl:curl jq:jq dockerd:docker.io

deps-check:
	@demo/install.sh docker-registry:docker-registry skopeo:skopeo htpasswd:apache2-utils openssl:openssl \
		dockerd:docker.io busybox:busybox-static prometheus:prometheus systemd-analyze:systemd curl:curl ip:iproute2 dbus-daemon:dbus redis-server:redis-server redis-cli:redis-tools

deps-bench:
	@demo/install.sh docker-registry:docker-registry skopeo:skopeo wrk:wrk /usr/bin/time:time

deps-soak:
	@demo/install.sh docker-registry:docker-registry flock:util-linux
