# Every target sets itself up: python3 (3.11 to 3.13), make and a package registry are all it takes.
# Which interpreter: make PYTHON=python3.12 test    More arguments: make test ARGS="-k journal"

PYTHON ?= python3
VENV   ?= .venv
ARGS   ?=
JOB    ?= examples/messy-prices.yaml
OUTPUT ?= runs

BIN   := $(VENV)/bin
READY := $(VENV)/.ready

# Slow mirrors are common; an interpreter from somewhere else is never wanted.
export UV_HTTP_TIMEOUT ?= 180
export UV_PYTHON_DOWNLOADS := never
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help run test check lint types imports contract house bench bench-quality e2e crd charts lock format clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## /{printf "  make %-13s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

run: $(READY) ## Train the example on this machine; the model and its report land in runs/
	$(BIN)/trainingjob run $(JOB) --output $(OUTPUT) $(ARGS)

test: $(READY) ## Run every test that needs no cluster
	$(BIN)/python -m pytest -m "not cluster" -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

check: $(READY) ## Lint, types, import rules, CRD, lock, house rules
	@$(MAKE) --no-print-directory --keep-going lint types imports contract house

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)
	$(BIN)/mypy

imports: $(READY)
	$(BIN)/lint-imports

contract: $(READY)
	$(BIN)/python -m trainingjob_api.crd --check

house: $(READY)
	PYTHONPATH=tools $(BIN)/python -m housekeeping

format: $(READY) ## Let ruff format and fix what it can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

crd: $(READY) ## Generate the CustomResourceDefinition from the models
	$(BIN)/python -m trainingjob_api.crd

charts: $(READY) ## Write what is generated in helm/ and render the golden files of the charts again
	PYTHONPATH=tools $(BIN)/python -m charts
	WRITE_GOLDEN=1 $(BIN)/python -m pytest -q tests/charts

bench: $(READY) ## Run the benchmarks in benchmarks/
	@set -e; for script in benchmarks/bench_*.py; do echo "== $$script"; $(BIN)/python "$$script" $(ARGS); done

bench-quality: $(READY) ## Compare models with other systems (benchmarks/README.md); make bench-quality ARGS="run --quick"
	$(BIN)/python benchmarks/quality $(or $(ARGS),--help)

e2e: $(READY) ## Run the tests that need a cluster (KUBECONFIG names a throw-away one)
	@set -e; \
	if [ -n "$$KUBECONFIG" ]; then $(BIN)/python -m pytest -m cluster tests $(ARGS); \
	else echo "KUBECONFIG is not set: the tests of the CRD on an API server (1.30 or later) were not run."; fi; \
	$(BIN)/python -m pytest e2e $(ARGS)

lock: $(READY) ## Resolve the dependencies again; UPGRADE=1 takes newer releases
	@mkdir -p locks
	@$(BIN)/python tools/lock.py $(if $(UPGRADE),--upgrade)

clean: ## Remove the environment and the caches; runs/ stays
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find crds certificates client operator trainer_image tests tools -name __pycache__ -type d -prune -exec rm -rf {} +

# uv installs what the lock names in seconds; where it cannot be had, pip does the same more slowly.
# The lock is complete, so neither resolves anything (--no-deps), both check every hash, and what has to be
# built is built with what the lock holds (--no-build-isolation).
PIP := $(BIN)/python -m pip install -q --no-input
$(READY): pyproject.toml locks/build.txt locks/bootstrap.txt locks/dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
	  { echo "python3 must be 3.11, 3.12 or 3.13; name one: make PYTHON=python3.12 ..." >&2; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || \
	  { rm -rf $(VENV); echo "no virtual environment: on Debian, install python3-venv" >&2; exit 2; }
	@echo "Installing the locked packages into $(VENV); the first time takes a few minutes."
	@$(PIP) --no-deps --require-hashes -r locks/build.txt
	@if $(PIP) --no-deps --require-hashes -r locks/bootstrap.txt \
	  && $(BIN)/uv pip sync -q --python $(BIN)/python --no-build-isolation --require-hashes locks/dev.txt; then :; \
	else \
	  echo "uv cannot be used here; pip takes over."; \
	  $(PIP) --no-deps --require-hashes --no-build-isolation -r locks/dev.txt; \
	fi
	@$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@
