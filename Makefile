# `make` alone prints this help. Every target does its own set-up; nothing is asked.
SHELL := /bin/sh
.DEFAULT_GOAL := help

TARGET := $(abspath $(or $(CARGO_TARGET_DIR),target))
PREFIX ?= /usr/local
SEEDS ?= 10000

# What scripts/setup brings lies here, and is used by tests and demo. What was on PATH before comes first.
export PATH := $(PATH):$(TARGET)/tools
# Which binaries the end-to-end tests, the demo and the benchmarks run.
export VISITS_BIN := $(TARGET)/release/visits

.PHONY: help build visits demo test check fmt lint bench sim install clean

help: ## this text
	@echo "isopod: Kubernetes in one small program. As root, on Debian or Ubuntu with Rust:"
	@echo
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "%-16s %s\n", $$1, $$2 }'

build: ## the program: target/release/isopod
	@scripts/setup build
	cargo build --release -p isopod

visits: ## the example app as a static binary: target/release/visits
	@scripts/setup build
	cargo rustc --release -p visits --bin visits -- -C target-feature=+crt-static

demo: build visits ## builds, then the whole main job step by step (KEEP=1 leaves the cluster running)
	@scripts/setup demo
	@ISOPOD_BIN=$(TARGET)/release/isopod scripts/demo

test: visits ## every test: unit, golden, property, simulation, end to end with kubectl and helm
	@scripts/setup test
	cargo build -p isopod
	ISOPOD_BIN=$(TARGET)/debug/isopod SIM_SEEDS=$(SEEDS) cargo test --workspace --no-fail-fast

check: ## what CI runs: format, lints, tidy, all tests
	@.ci/run

fmt: ## formats the code
	cargo fmt --all

lint: ## clippy with warnings as errors, and the house rules
	cargo clippy --workspace --all-targets -- -D warnings
	cargo xtask tidy

bench: build visits ## one table of speeds and sizes (minutes; a quiet machine helps)
	@scripts/setup demo
	@ISOPOD_BIN=$(TARGET)/release/isopod bench/run

sim: ## the simulation alone, SEEDS=10000 of them
	SIM_SEEDS=$(SEEDS) cargo test -p sim -- --nocapture

install: build ## copies the program to PREFIX/bin (/usr/local/bin)
	install -D -m 0755 $(TARGET)/release/isopod $(DESTDIR)$(PREFIX)/bin/isopod

clean: ## removes what was built, with the tools under target/
	cargo clean
