# Every target makes its own environment from a bare python3; the first run takes a minute or two.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
# The training side is ten times as large, so it has an environment of its own.
TRAIN  := .venv-train
TRAINED := $(TRAIN)/.installed

# Folders that can run on Apache Kafka; tests/chaos plays its short scenarios there.
ON_KAFKA := $(wildcard tests/contract tests/integration tests/e2e tests/chaos)

# Two at a time even on one core: most of the time a test waits for a broker or a clock. A file's tests
# stay together. JOBS=0 runs everything in one process.
JOBS ?= 2
PYTEST = pytest -q -n $(JOBS) --dist loadfile

.PHONY: demo test test-service test-models test-kafka chaos check fix bench docs lock help

help:  ## Say what there is
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

demo: $(STAMP)  ## Start everything and replay a fictitious trading day (Ctrl-C ends it)
	@$(BIN)/tickertone demo $(DEMO_ARGS)

test: test-models test-service  ## Run all tests on every broker that the machine can start

test-service: $(STAMP)  ## Run them without those of the training side
	@echo "running the tests of the service (several minutes)"
	@$(BIN)/$(PYTEST) --ignore tests/models $(TEST_ARGS)

test-models: $(TRAINED)  ## Run the tests of the training side (sets up PyTorch: 7 GB)
	@echo "running the tests of the training side (some minutes)"
	@$(TRAIN)/bin/$(PYTEST) tests/models

test-kafka: $(STAMP)  ## Run the tests on Apache Kafka, one node and three (Java 17, Maven)
	@echo "running the tests on Apache Kafka (several minutes)"
	@TICKERTONE_TEST_KAFKA=require $(BIN)/$(PYTEST) --brokers kafka,kafka3 $(ON_KAFKA) $(TEST_ARGS)

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
	@$(BIN)/python -m streams.reference docs/schemas

lock: $(STAMP)  ## Resolve the dependencies anew
	@$(BIN)/uv pip compile pyproject.toml --extra embedded --extra dev --universal \
	  --python-version 3.11 --generate-hashes --no-annotate --no-header -q -o requirements.lock
	@$(BIN)/uv pip compile pyproject.toml --extra train --extra teacher --extra embedded --extra dev --universal \
	  --python-version 3.11 --generate-hashes --no-annotate --no-header -q -c requirements.lock -o requirements-train.lock

# $(1): folder, $(2): lock file, $(3): what to expect
define set-up
	@echo "setting up $(1) ($(3))"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' || \
	  { echo "Python 3.11 or 3.12 is needed; name one: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 1; }
	@test -x $(1)/bin/python || $(PYTHON) -m venv $(1)
	@echo "  1/3 installer" && $(1)/bin/python -m pip install -q --disable-pip-version-check uv==0.13.9
	@echo "  2/3 dependencies (locked, by hash)" && $(1)/bin/uv pip sync -q --python $(1)/bin/python --require-hashes $(2)
	@echo "  3/3 tickertone" && $(1)/bin/uv pip install -q --python $(1)/bin/python --no-deps --no-build-isolation -e .
	@touch $@
endef

$(STAMP): pyproject.toml requirements.lock
	$(call set-up,$(VENV),requirements.lock,about 1.1 GB; a minute or two)

$(TRAINED): pyproject.toml requirements-train.lock
	$(call set-up,$(TRAIN),requirements-train.lock,about 7 GB; some minutes)
