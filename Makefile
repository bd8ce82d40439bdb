# Everything a clone needs is Python 3.11 or newer and make. The first target builds .venv from the hash-locked
# requirements; later ones reuse it until a lock or pyproject.toml changes.
PYTHON ?= python3
ARGS ?=
WORKERS ?= 2

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# Where a Python is newer than the newest lock, the newest lock is tried.
LOCKS := $(wildcard requirements/dev-3.*.txt)
FLOOR := import sys; sys.exit(sys.version_info < (3, 11))
PICK := import sys; m = min(sys.version_info[1], 13); print(f"requirements/dev-3.{m}.txt")

.PHONY: demo test test-long bench lint types imports lock clean
.DEFAULT_GOAL := test

$(READY): pyproject.toml $(LOCKS)
	@$(PYTHON) -c '$(FLOOR)' || { \
	  echo "Tenantry needs Python 3.11 or newer; '$(PYTHON)' is $$($(PYTHON) --version 2>&1 || echo missing)." >&2; \
	  echo "Name another one: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@echo "Building $(VENV) from $$($(PYTHON) -c '$(PICK)') ..."
	@$(PYTHON) -m venv --clear $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r "$$($(PYTHON) -c '$(PICK)')"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: $(READY)  ## see it work; ARGS="--once --json" for a pipe
	@$(BIN)/tenantry demo $(ARGS)

test: $(READY)  ## what a change must pass
	@$(BIN)/python -m pytest -m "not long" -n $(WORKERS) $(ARGS)

test-long: $(READY)  ## the same and the long ones, with more examples and repetitions
	@TENANTRY_LONG=1 $(BIN)/python -m pytest -n $(WORKERS) --hypothesis-profile=long $(ARGS)

bench: $(READY)  ## ratios against ceilings and peers, in one run
	@$(BIN)/python -m benchmarks $(ARGS)

lint: $(READY)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: $(READY)
	@$(BIN)/basedpyright

imports: $(READY)
	@$(BIN)/lint-imports

lock:  ## regenerate requirements/*.txt for each Python that is here
	@requirements/compile.sh

clean:
	@rm -rf $(VENV) build dist .pytest_cache .ruff_cache .hypothesis .import_linter_cache
