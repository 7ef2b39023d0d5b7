# The commands of everyday work; `make help` lists them.
#
# Everything that is slow to get lies in one cache folder: what Cargo and Go compile, the programs of the testbeds, and
# the testbeds themselves. An exported CERTWRIGHT_CACHE or CARGO_TARGET_DIR is respected.
export CERTWRIGHT_CACHE ?= $(HOME)/.cache/certwright
export CARGO_TARGET_DIR ?= $(CERTWRIGHT_CACHE)/target
BIN := $(CARGO_TARGET_DIR)/x86_64-unknown-linux-gnu
TARGETS ?= x86_64-unknown-linux-gnu

.PHONY: help build check test demo bench image crds manifests audit clean clean-cache

help: ## List these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

build: ## Build the static release binary
	@scripts/with-cache cargo build --locked --release -p certwright
	@ls -l $(BIN)/release/certwright

check: ## Format, lint and run the tests that need nothing but Cargo: the quick loop
	@scripts/with-cache sh -c 'cargo fmt --all && cargo clippy --locked --workspace --all-targets -- -D warnings && cargo test --locked --workspace --lib'

test: ## Run every check and every tier of tests that this machine can run
	@scripts/with-cache scripts/test

demo: ## Show certwright at work in a throwaway cluster; DEMO_USE_CURRENT=1 takes that of KUBECONFIG
	@scripts/with-cache scripts/demo

bench: ## Measure the bars; ONLY=name or ONLY=group for some
	@scripts/with-cache scripts/bench $(ONLY)

image: ## Write the container image to a file that container runtimes load; TARGETS are the targets of Rust it is for
	@scripts/with-cache sh -c 'cargo build --locked --release -p certwright $(TARGETS:%=--target %) && cargo build --locked --workspace --bin testbed'
	@$(BIN)/debug/testbed image $(TARGETS:%=--binary $(CARGO_TARGET_DIR)/%/release/certwright) --save $(CERTWRIGHT_CACHE)/images

crds: ## Write crds/ anew from the Rust types
	@UPDATE_CRDS=1 scripts/with-cache cargo test --locked --test crds

manifests: ## Render deploy/ and what tests compare from the Helm chart
	@scripts/with-cache sh -c 'cargo build --locked --workspace --bin testbed && $(BIN)/debug/testbed tools && HELM=$$($(BIN)/debug/testbed which helm) scripts/manifests'

audit: ## Check licences, bans and advisories with cargo-deny
	@scripts/with-cache scripts/audit

clean: ## End every testbed, the demo too, and remove their folders
	@scripts/clean

clean-cache: clean ## Remove the cache folder too
	@rm -rf -- '$(CERTWRIGHT_CACHE)'
