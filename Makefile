# `make demo` trains the first experiment, `make test` checks the code. Both set up .venv first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
VERSION := $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')
PYTEST := $(BIN)/python -m pytest -n auto --dist worksteal

.PHONY: demo test test-all test-long lint types format clean

demo: $(VENV)/.experiments-$(VERSION)
	$(BIN)/python -m grujax build || true  # without a compiler the scan runs
	$(BIN)/python -m experiments.sentiment

test: $(VENV)/.dev-$(VERSION)  # every module: 15 minutes on 2 cores
	$(PYTEST) -m "not slow and not long"

test-all: $(VENV)/.dev-$(VERSION)  # also all combinations, processes, and kills: 75 minutes
	$(PYTEST) -m "not long"

test-long: $(VENV)/.dev-$(VERSION)  # quick runs of all experiments, fuzzing, documented commands
	$(PYTEST) -m long

lint: $(VENV)/.dev-$(VERSION)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev-$(VERSION)
	$(BIN)/mypy

format: $(VENV)/.dev-$(VERSION)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache

# One stamp for each set of dependencies and Python version: another PYTHON makes .venv anew.
$(VENV)/.python-$(VERSION):
	$(PYTHON) -m venv --clear $(VENV)
	touch $@

$(VENV)/.%-$(VERSION): pyproject.toml | $(VENV)/.python-$(VERSION)
	@echo "Installing grujax[$*] into $(VENV) (Python $(VERSION)): a minute or more the first time."
	$(BIN)/python -m pip install --quiet --editable '.[$*]'
	touch $@
