# Everything a clone needs is Python 3.11 or newer and make. The first target builds .venv from the hash-locked
# requirements; later ones reuse it until a lock or pyproject.toml changes.
PYTHON ?= python3
ARGS ?=
WORKERS ?= 2

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
LOCKS := $(sort $(wildcard requirements/dev-3.*.txt))
MINOR := import sys; sys.exit("too old") if sys.version_info < (3, 11) else print(sys.version_info[1])

.PHONY: demo test test-long bench lint types imports lock clean
.DEFAULT_GOAL := test

# A Python newer than the newest lock is tried with that one.
$(READY): pyproject.toml sdk/python/pyproject.toml $(LOCKS)
	@minor=$$($(PYTHON) -c '$(MINOR)' 2>/dev/null) || { \
	  echo "Tenantry needs Python 3.11 or newer, and '$(PYTHON)' is $$($(PYTHON) --version 2>/dev/null || echo not here)." >&2; \
	  echo "Name another one: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }; \
	lock=requirements/dev-3.$$minor.txt; [ -f $$lock ] || lock=$(lastword $(LOCKS)); \
	echo "Building $(VENV) from $$lock ..." && \
	$(PYTHON) -m venv --clear $(VENV) && \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $$lock && \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e . -e sdk/python
	@touch $@

demo: $(READY)  ## see it work; ARGS="--once --json" for a pipe
	@$(BIN)/tenantry demo $(ARGS)

test: $(READY)  ## what a change must pass
	@$(BIN)/python -m pytest -m "not long" -n $(WORKERS) $(ARGS)

test-long: $(READY)  ## the same and the long ones, with more examples and repetitions
	@$(BIN)/python -m pytest -n $(WORKERS) --hypothesis-profile=long $(ARGS)

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
