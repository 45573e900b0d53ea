# `make` alone says what it can do.
.DEFAULT_GOAL := help
SHELL := /bin/bash
CARGO ?= cargo

.PHONY: help demo lab lab-demo test bench dist bless

help: ## Say what make can do
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "make %-8s %s\n", $$1, $$2 }'

demo: ## Swap a server and take it back, on embedded sandbox hosts (no root, no services)
	$(CARGO) build --locked --release --bin weiche
	target/release/weiche demo

lab: ## Boot a small town hall of real systemd hosts to try things on (as root; ARGS="--hosts 8")
	tests/setup.sh
	$(CARGO) build --locked --workspace
	$(CARGO) run --locked --quiet -p weiche-tests --bin lab -- $(ARGS)

lab-demo: ARGS = --swap
lab-demo: lab ## Replace a town hall's server there, and take it back, while people work (as root)

test: ## Format, lints, and every test; as root also on real hosts (installs what they need)
	tests/setup.sh
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	$(CARGO) build --locked --workspace --all-targets
	$(CARGO) test --locked --workspace --no-fail-fast

bench: ## Compare with other tools on the same work (PEERBENCH=DIR names the bench bed)
	$(CARGO) build --locked --release --bin weiche
	tests/bench/run.sh

dist: ## Static weiche-agent and weiche, stripped, into dist/
	$(CARGO) build --locked --release --bin weiche
	mkdir -p dist
	install -m 0755 target/release/weiche dist/weiche
	install -m 0755 target/agent-static/*/agent/weiche-agent dist/weiche-agent
	ls -l dist

bless: ## Accept what snapshot tests print now
	INSTA_UPDATE=always $(CARGO) test --locked --workspace
