# Two commands matter: `make demo` and `make test`. Everything they need is made on the way.
SHELL := /bin/bash
SYSTEM_PYTHON ?= /usr/bin/python3
# A python3 that was built without optimisation, as version managers build it, takes a quarter more time for a small
# question than the system's (docs/decisions/014): then that one, where it will do.
PYTHON ?= $(shell { python3 -c 'import sysconfig as s, sys; \
	sys.exit("--enable-optimizations" in (s.get_config_var("CONFIG_ARGS") or ""))' && \
	$(SYSTEM_PYTHON) -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))'; } 2>/dev/null && \
	echo $(SYSTEM_PYTHON) || echo python3)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready
WORKERS ?= 3
# Python keeps what it compiled, whatever the shell says: processes start in half the time.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help setup demo test lint format types city-medium attack attack-nightly fuzz fuzz-nightly corpus-check corpus-record corpus-fuzz clients bench bench-governance bench-growth bench-guard bench-ledger bench-protocol bench-rules docs clean services

help: ## what there is to make
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-13s %s\n", $$1, $$2}'

setup: $(STAMP) ## .venv with the atoll command in it

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("atoll needs Python 3.11 or newer") if sys.version_info < (3, 11) else None'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing packages into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip uv
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --editable . --group dev
	@touch $@

demo: setup ## the demonstration city on this machine, with the flagship question answered
	@$(BIN)/atoll demo

services: ## the servers, browser and Java client that tests run against (Debian; needs root)
	@tests/install-services

test: setup ## everything: real databases, real clients, the whole city
	@$(MAKE) --no-print-directory -j2 services lint
	@$(BIN)/python -m pytest -n $(WORKERS)

lint: setup ## style, types and the trust line's import rule
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: setup ## rewrite the code in the house's style
	@$(BIN)/ruff check --fix --quiet .
	@$(BIN)/ruff format --quiet .

city-medium: setup ## the five questions at medium scale against their key
	@CITY_SCALE=medium $(BIN)/python -m pytest tests/city/live/test_questions.py -k "key or probe or dirt" --durations=0

fuzz: setup ## the differential fuzzer, for as long as FUZZ_SECONDS says
	@FUZZ_SECONDS=$${FUZZ_SECONDS:-600} FUZZ_SEED=$${FUZZ_SEED:-$$(date +%s)00000} \
		$(BIN)/python -m pytest -s tests/differential/test_fuzz.py

fuzz-nightly: setup ## the same for fifty thousand questions, or as many as FUZZ_QUERIES says, on all processors
	@cores=$$(getconf _NPROCESSORS_ONLN); each=$$(( ($${FUZZ_QUERIES:-50000} + cores - 1) / cores )); \
	seed=$${FUZZ_SEED:-$$(date +%s)00000}; runs=; bad=0; \
	for core in $$(seq 0 $$((cores - 1))); do \
		FUZZ_QUERIES=$$each FUZZ_SEED=$$((seed + core * each)) \
			$(BIN)/python -m pytest -s tests/differential/test_fuzz.py & runs="$$runs $$!"; \
	done; \
	for run in $$runs; do wait $$run || bad=1; done; exit $$bad

corpus-check: setup ## every statement of the corpus against the answers that Trino gave
	@$(BIN)/python -m pytest tests/corpus

corpus-record: setup ## ask a real Trino what has no answer yet; needs a JDK 24 and Maven (AGAIN=--again for all)
	@$(BIN)/python -m tests.corpus.record $(AGAIN)

corpus-fuzz: setup ## random expressions and queries beside a real Trino for FUZZ_SECONDS; needs a JDK 24 and Maven
	@$(BIN)/python -m tests.corpus.fuzz $${FUZZ_SECONDS:-600} $${FUZZ_SEED:-$$RANDOM}

attack: setup services ## every hostile case over every kind of silo, through the gateway too, and what must notice faults
	@ATTACK=all $(BIN)/python -m pytest -n $(WORKERS) tests/attack tests/cli/test_long_ledger.py \
		tests/agent/test_trackers.py tests/agent/test_limits.py tests/agent/test_verify.py tests/agent/test_dashboards.py

attack-nightly: setup services ## twenty thousand random questions: as over a masked copy, and blind to what is hidden
	@ATTACK=all ATTACK_EXAMPLES=$${ATTACK_EXAMPLES:-20000} $(BIN)/python -m pytest -n $(WORKERS) tests/attack tests/masks_first

clients: setup services ## every Trino client there is, unmodified, against a running city
	@$(BIN)/python -m tests.clients.prepare
	@CLIENTS=all $(BIN)/python -m pytest tests/clients tests/protocol/test_crowd.py --no-header -q
	@PROTOCOL_STEPS=$${PROTOCOL_STEPS:-20000} $(BIN)/python -m pytest tests/protocol/test_machine.py --no-header -q

bench: setup services ## TPC-H and user questions beside Trino and DuckDB: BENCH_SF, BENCH_ROUNDS, BENCH_ONLY
	@$(BIN)/python -m bench.tpch_run

bench-governance: setup services ## what masks, filters and ledgers cost: governed departments beside open ones
	@$(BIN)/python -m bench.governance

bench-growth: setup ## the same questions in cities of 2, 8 and 32 departments
	@$(BIN)/python -m bench.growth

bench-guard: setup ## what judging an answer costs after 10,000 released cells
	@$(BIN)/python -m bench.guard

bench-ledger: setup ## what ledger and receipt add to a one-row question
	@$(BIN)/python -m bench.ledger

bench-rules: setup ## what each rule of the planner is worth: TPC-H with all rules and without each
	@$(BIN)/python -m tests.differential.effects $${BENCH_SF:-0.1}

bench-protocol: setup services ## the wire beside a real Trino and beside a server that does nothing
	@$(BIN)/python -m bench.protocol

docs: setup ## the reference pages and schemas, out of the code
	@$(BIN)/python docs/generate.py

clean: ## remove what was built, not what you wrote
	@rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .cache
