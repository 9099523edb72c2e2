PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test check table

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

# The comparison in the README, on a folder of Kermany's films: make table XRAYS=DIR
table: .venv/base
	@test -d "$(XRAYS)" || { echo "expected a folder of X-rays, got '$(XRAYS)'; do make table XRAYS=DIR"; exit 2; }
	for method in pixel latent latent-shift class-mean; do \
		$(BIN)/cfgen search --bundle kermany-128 --data "$(XRAYS)" --split test \
			--method $$method --out runs/$$method && \
		$(BIN)/cfgen evaluate runs/$$method || exit 1; \
	done
	$(BIN)/cfgen compare runs/pixel runs/latent runs/latent-shift runs/class-mean --out runs/table
