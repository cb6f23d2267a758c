# Every command a user or contributor needs; `make help` lists them.
# Nothing is installed over the system: what is missing of Prometheus & co. is unpacked under target/tools.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.ONESHELL:
# With -j the stages of `test` would run at once, and its tests need the machine.
.NOTPARALLEL:

CARGO ?= cargo
TOOLS := $(or $(XPROBER_TOOLS),$(CURDIR)/target/tools)
export XPROBER_TOOLS := $(TOOLS)
export PATH := $(PATH):$(TOOLS)/bin

TARGET := $(or $(CARGO_TARGET_DIR),target)

FOR ?=
TSDB ?= prometheus
BREAK ?=
CUT ?=
BENCH ?=
ACCURACY ?=
CHAOS ?=
FAULTS ?=
SOAK ?=

.PHONY: help
help: ## Lists the commands
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## Builds xprober-planner and xprober-agent (release)
	$(CARGO) build --release --locked -p xprober-planner -p xprober-agent

.PHONY: tools
tools: ## Unpacks Prometheus, VictoriaMetrics and Alertmanager under target/tools where PATH lacks them
	@lab/fetch-tools.sh

.PHONY: versions
versions: ## Unpacks Prometheus and VictoriaMetrics, with their rule checkers, of three Debian releases, and the newest Alertmanager, under target/tools/versions
	@lab/fetch-tools.sh versions

.PHONY: browser
browser: ## Unpacks headless Chromium under target/tools where PATH has no browser of that family
	@lab/fetch-tools.sh browser

.PHONY: demo
demo: tools ## Runs four regions on this machine: FOR=seconds TSDB=prometheus|victoriametrics BREAK=a-b CUT=a-b
	$(CARGO) build --release --locked -p xprober-planner -p xprober-agent -p xprober-lab
	exec $(TARGET)/release/xprober-lab demo --tsdb=$(TSDB) $(if $(FOR),--for=$(FOR)) $(if $(BREAK),--break=$(BREAK)) $(if $(CUT),--cut=$(CUT))

.PHONY: bench-probe
bench-probe: ## Measures our agent beside fping, surge-ping, smokeping_prober and a bare loop: BENCH="--where=loopback --rounds=5"
	@lab/fetch-tools.sh bench
	$(CARGO) build --release --locked -p xprober-planner -p xprober-agent -p xprober-lab
	exec $(TARGET)/release/xprober-lab bench-probe --write=docs/benchmarks.md $(BENCH)

.PHONY: bench-push
bench-push: versions ## Measures our push path beside Prometheus in agent mode and vmagent: BENCH="--rounds=5 --outage=0"
	$(CARGO) build --release --locked -p xprober-planner -p xprober-agent -p xprober-lab
	exec $(TARGET)/release/xprober-lab bench-push --write=docs/benchmarks-push.md $(BENCH)

.PHONY: bench-push-memory
bench-push-memory: ## Measures how much the agent grows in an hour without a receiver, run in two minutes: BENCH="--protocol=rw2"
	$(CARGO) build --release --locked -p xprober-planner -p xprober-agent -p xprober-lab
	exec $(TARGET)/release/xprober-lab push-memory --write=docs/benchmarks-push.md $(BENCH)

.PHONY: accuracy
accuracy: tools ## Injects known faults and holds what is measured against them, 11 minutes: ACCURACY="--seconds=60"
	$(CARGO) build --release --locked -p xprober-planner -p xprober-agent -p xprober-lab
	exec $(TARGET)/release/xprober-lab accuracy --write=docs/accuracy.md $(ACCURACY)

.PHONY: chaos
chaos: versions ## Breaks everything between agents and databases for 5 minutes and counts samples: CHAOS="--seconds=60 --protocol=rw2 --tsdb=prometheus3"
	$(CARGO) build --release --locked -p xprober-planner -p xprober-agent -p xprober-lab
	exec $(TARGET)/release/xprober-lab chaos $(CHAOS)

.PHONY: faults
faults: tools ## Plants faults and holds what Alertmanager tells against what it should, 15 minutes: FAULTS="--case=line-slow"
	$(CARGO) build --release --locked -p xprober-planner -p xprober-agent -p xprober-lab
	exec $(TARGET)/release/xprober-lab faults --write=docs/faults.md $(FAULTS)

.PHONY: soak
soak: tools ## Watches a world with ordinary jitter and loss for an hour, in which nothing may fire: FOR=seconds SOAK="--database=prometheus"
	$(CARGO) build --release --locked -p xprober-planner -p xprober-agent -p xprober-lab
	exec $(TARGET)/release/xprober-lab soak --for=$(or $(FOR),3600) $(SOAK)

.PHONY: test
test: tools format lint doc unit fuzz e2e rules ## Runs everything that CI runs
	@echo "make test: everything passed"

.PHONY: format
format: ## Checks the formatting
	$(CARGO) fmt --all --check

.PHONY: lint
lint: ## Runs clippy with every warning an error
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings

.PHONY: doc
doc: ## Builds the documentation with every warning an error
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --locked

.PHONY: unit
unit: ## Runs every test but the end-to-end ones
	$(CARGO) test --workspace --locked --exclude xprober-lab
	$(CARGO) test -p xprober-lab --locked --lib --bins

.PHONY: fuzz
fuzz: ## Feeds every decoder made-up packets and messages: FOR=seconds for each target
	fuzz/run.sh $(or $(FOR),8)

.PHONY: e2e
e2e: tools versions browser ## Runs the real binaries, Prometheus, VictoriaMetrics and Alertmanager in network namespaces
	$(CARGO) build --workspace --locked --bins
	$(CARGO) test -p xprober-lab --locked --tests -- --test-threads=1

.PHONY: rules
rules: tools versions ## Checks and tests rules, dashboards, Alertmanager files and every sample
	grafana/check.sh
	grafana/alertmanager/check.sh
	$(CARGO) build --workspace --locked --bins
	grafana/dashboards/check.sh
	$(TARGET)/debug/xprober-lab mutate-rules
	for file in config/planner.yml config/xprober.yml; do $(TARGET)/debug/xprober-planner check --config.file=$$file; done
	for file in config/agent.yml config/fast/agent.yml; do $(TARGET)/debug/xprober-agent check --config.file=$$file; done

.PHONY: dashboards
dashboards: ## Writes grafana/dashboards from their sources and checks them
	$(CARGO) build --locked -p xprober-agent
	grafana/dashboards/check.sh write
	grafana/dashboards/check.sh

.PHONY: answers
answers: tools ## Asks Prometheus and VictoriaMetrics in the lab every query of the dashboards, and keeps the answers for the checks
	grafana/dashboards/check.sh write
	$(CARGO) build --workspace --locked --bins
	XPROBER_RECORD_ANSWERS=$(CURDIR)/grafana/dashboards/source/fixtures $(CARGO) test -p xprober-lab --locked --test e2e_dashboards
