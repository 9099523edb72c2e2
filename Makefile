PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test check

demo: .venv/base
	$(BIN)/cfgen demo

test: .venv/test check
	$(BIN)/python -m pytest

check: .venv/test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/basedpyright

# The marks say what is installed; a change of what is needed installs again.
.venv/base: pyproject.toml
	$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), "cfgen needs Python 3.11 or newer"'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --editable .
	touch $@

.venv/test: .venv/base
	$(BIN)/pip install --quiet --editable '.[test]'
	touch $@
