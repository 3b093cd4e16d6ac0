# `make demo` trains the first experiment, `make test` checks the code. Both set up .venv first.
# `make release` builds what would be published, and tries it out.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
VERSION := $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')
PYTEST := $(BIN)/python -m pytest -n auto --dist worksteal

.PHONY: demo test test-all test-long docs lint types format release clean

demo: $(VENV)/.experiments-$(VERSION)
	$(BIN)/python -m experiments.sentiment

test: $(VENV)/.dev-$(VERSION)  # every module: 20 minutes on 2 cores
	$(PYTEST) -m "not slow and not long"

test-all: $(VENV)/.dev-$(VERSION)  # also all combinations, processes, and kills: 75 minutes
	$(PYTEST) -m "not long"

test-long: $(VENV)/.dev-$(VERSION)  # quick runs of all experiments, fuzzing, documented commands
	$(PYTEST) -m long

docs: $(VENV)/.docs-$(VERSION)  # the site, into build/docs; runs its code: 5 minutes at most
	$(BIN)/python -m sphinx --quiet -W --keep-going -j auto docs build/docs
	@echo "Open build/docs/index.html"

lint: $(VENV)/.dev-$(VERSION)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev-$(VERSION)
	$(BIN)/mypy

format: $(VENV)/.dev-$(VERSION)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

PLATFORM = manylinux_2_28_$(shell uname -m)
TRIAL := build/release
release: $(VENV)/.release-$(VERSION)  # into dist/, the wheel for this platform: 3 minutes
	rm -rf dist $(TRIAL)
	grep "^## \[$$(sed -n 's/^__version__ = "\(.*\)"/\1/p' grujax/__init__.py)\]" CHANGELOG.md
	GRUJAX_WHEEL=$(PLATFORM) $(BIN)/python -m build --outdir $(TRIAL)  # the wheel from the sdist
	$(BIN)/auditwheel show $(TRIAL)/*.whl
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/auditwheel repair --plat $(PLATFORM) --wheel-dir dist $(TRIAL)/*.whl
	cp $(TRIAL)/*.tar.gz dist
	$(BIN)/twine check --strict dist/*
	$(BIN)/python -m venv $(TRIAL)/venv
	$(TRIAL)/venv/bin/python -m pip install --quiet dist/*.whl
	XDG_CACHE_HOME=$(abspath $(TRIAL)) $(TRIAL)/venv/bin/python -P tests/installed.py README.md
	ls dist

clean:
	rm -rf build dist $(VENV) .mypy_cache .pytest_cache .ruff_cache

# One stamp for each set of dependencies and Python version: another PYTHON makes .venv anew.
$(VENV)/.python-$(VERSION):
	$(PYTHON) -m venv --clear $(VENV)
	touch $@

$(VENV)/.%-$(VERSION): pyproject.toml | $(VENV)/.python-$(VERSION)
	@echo "Installing grujax[$*] into $(VENV) (Python $(VERSION)): a minute or more the first time."
	$(BIN)/python -m pip install --quiet --editable '.[$*]'
	touch $@
