# Every target makes its own environment from a bare python3; the first run takes a minute or two.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

# Folders that can run on Apache Kafka; tests/chaos plays its short scenarios there.
ON_KAFKA := $(wildcard tests/contract tests/integration tests/e2e tests/chaos)

# Two at a time even on one core: most of the time a test waits for a broker or a clock. A file's tests
# stay together. JOBS=0 runs everything in one process.
JOBS ?= 2
PYTEST = $(BIN)/pytest -q -n $(JOBS) --dist loadfile

.PHONY: demo test test-kafka chaos check fix bench docs lock help

help:  ## Say what there is
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

demo: $(STAMP)  ## Start everything and replay a fictitious trading day (Ctrl-C ends it)
	@$(BIN)/tickertone demo $(DEMO_ARGS)

test: $(STAMP)  ## Run all tests on every broker that the machine can start
	@echo "running the tests (several minutes)"
	@$(PYTEST) $(TEST_ARGS)

test-kafka: $(STAMP)  ## Run the tests on Apache Kafka, one node and three (Java 17, Maven)
	@echo "running the tests on Apache Kafka (several minutes)"
	@TICKERTONE_TEST_KAFKA=require $(PYTEST) --brokers kafka,kafka3 $(ON_KAFKA) $(TEST_ARGS)

REPEAT ?= 5
chaos: $(STAMP)  ## Cause every fault, REPEAT times each, and print the report (hours)
	@rm -f .chaos/results.jsonl
	@TICKERTONE_TEST_CHAOS=all TICKERTONE_TEST_REPEAT=$(REPEAT) $(BIN)/pytest -q -s --show-capture=no tests/chaos $(CHAOS_ARGS)

check: $(STAMP)  ## Lint, types, layers
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

fix: $(STAMP)  ## Format and mend what can be mended
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench: $(STAMP)  ## Measure throughput against the bare model server
	@$(BIN)/python tests/bench/throughput.py $(BENCH_ARGS)

docs: $(STAMP)  ## Make the reference tables anew
	@$(BIN)/python -m streams.reference > docs/reference.md

lock: $(STAMP)  ## Resolve the dependencies anew
	@$(BIN)/uv pip compile pyproject.toml --extra embedded --extra dev --universal \
	  --python-version 3.11 --generate-hashes --no-annotate --no-header -q -o requirements.lock
	@$(BIN)/uv pip compile pyproject.toml --extra train --extra teacher --extra embedded --extra dev --universal \
	  --python-version 3.11 --generate-hashes --no-annotate --no-header -q -c requirements.lock -o requirements-train.lock

$(STAMP): pyproject.toml requirements.lock
	@echo "setting up $(VENV) (about 650 MB, a minute or two)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; name one: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "  1/3 installer" && $(BIN)/python -m pip install -q --disable-pip-version-check uv==0.13.9
	@echo "  2/3 dependencies (locked, by hash)" && $(BIN)/uv pip sync -q --python $(BIN)/python --require-hashes requirements.lock
	@echo "  3/3 tickertone" && $(BIN)/uv pip install -q --python $(BIN)/python --no-deps --no-build-isolation -e .
	@touch $@
