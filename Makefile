# Thin: each target is a few commands, the same on a laptop and in CI (.ci/run). Everything is built in one profile
# (release) and one target folder; guests have a part of it to themselves, since another compiler may build them.

export CARGO_TARGET_DIR := $(CURDIR)/target
GUESTS := target/guests
SKEP := target/release/skep
BUILD := $(SKEP) build --target-dir $(GUESTS) --out $(GUESTS)/components
GUEST_WORKSPACES := guest-sdk/rust plugins tests/guests/rust
PYTHON_GUESTS := $(dir $(wildcard tests/guests/python/*/app.py))
# A test that hangs is a failure: with what has to be compiled before, it takes a third of this on two cores.
TEST_S_MAX := 2400
COMPONENTIZE := $(GUESTS)/venv/bin/componentize-py
# With the NATS server that `setup` brings, where there is no other.
WITH_SERVER = SKEP_NATS_SERVER=$${SKEP_NATS_SERVER:-$$(command -v nats-server || echo $(GUESTS)/venv/bin/nats-server)}

.PHONY: help setup host guests demo demo-cluster test test-sdk test-modes bench lint format kill-200

help:
	@echo "make demo        index this folder with agents that crash, are swapped and are killed; ends with 'verified'"
	@echo "make demo-cluster  the same on two hosts with a NATS server between them, of which one is killed"
	@echo "make test        every test, the modes included"
	@echo "make test-modes  the integration tests again: with every durable agent's instance dropped after each turn,"
	@echo "                 and with telemetry off"
	@echo "make test-sdk    the tests of the guest SDKs and of the plugins, natively"
	@echo "make bench       numbers, each beside its control"
	@echo "make lint        formatting and clippy; make format: formats"
	@echo "make kill-200    kill the host at 200 random moments of a durable workload"
	@echo "make guests      build the components of the repository; make setup: only what they are built with"

setup:
	guest-sdk/setup.sh

# The whole workspace is selected wherever cargo is called: with a part of it the dependencies have other features, and
# are compiled once more.
host: setup
	cargo build --release --workspace --bin skep

guests: host
	$(BUILD) plugins
	$(BUILD) tests/guests/rust
	for dir in $(PYTHON_GUESTS); do $(BUILD) $$dir || exit; done

demo: guests
	$(SKEP) demo

demo-cluster: guests
	$(WITH_SERVER) $(SKEP) demo --cluster

# The SDKs natively, against pretended imports; then all of Skep.
test: guests test-sdk
	timeout $(TEST_S_MAX) cargo test --release --workspace
	$(MAKE) --no-print-directory test-modes

# What must make no difference makes none.
test-modes: guests
	SKEP_TEST_DROP=on timeout $(TEST_S_MAX) cargo test --release --workspace --test it
	SKEP_TEST_TELEMETRY=off timeout $(TEST_S_MAX) cargo test --release --workspace --test it

test-sdk: setup
	for dir in guest-sdk/rust plugins; do \
	    cargo test --release --workspace --manifest-path $$dir/Cargo.toml --target-dir $(GUESTS) || exit; done
	rm -rf $(GUESTS)/bindings && $(COMPONENTIZE) -q -d wit -w agent bindings $(GUESTS)/bindings
	PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=$(GUESTS)/bindings $(GUESTS)/venv/bin/python guest-sdk/python/test_skep.py

bench: guests
	$(WITH_SERVER) $(SKEP) bench

lint:
	cargo fmt --all --check
	for dir in $(GUEST_WORKSPACES); do cargo fmt --all --check --manifest-path $$dir/Cargo.toml || exit; done
	cargo clippy --release --workspace --all-targets -- -D warnings
	for dir in $(GUEST_WORKSPACES); do cargo clippy --release --workspace --all-targets \
	    --manifest-path $$dir/Cargo.toml --target-dir $(GUESTS) -- -D warnings || exit; done

format:
	cargo fmt --all
	for dir in $(GUEST_WORKSPACES); do cargo fmt --all --manifest-path $$dir/Cargo.toml || exit; done

kill-200: guests
	SKEP_KILLS=200 cargo test --release --workspace -- --nocapture kill_9
