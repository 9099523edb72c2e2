PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test check docs table table-phantom benchmark bench

demo: .venv/base
	$(BIN)/cfgen demo

# Two processes of one thread each: many small networks gain nothing from more threads.
test: .venv/test check
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

check: .venv/test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/basedpyright

# The site, into out/docs/index.html; anything that is amiss ends it
docs: .venv/docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# The marks say what is installed; a change of what is needed installs again.
.venv/base: pyproject.toml
	$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), "cfgen needs Python 3.11 or newer"'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --editable .
	touch $@

.venv/test: .venv/base
	$(BIN)/pip install --quiet --editable '.[test]'
	touch $@

.venv/docs: .venv/base
	$(BIN)/pip install --quiet --editable '.[docs]'
	touch $@

# The comparison in the README, on a folder of Kermany's films: make table XRAYS=DIR
table: .venv/base
	@test -d "$(XRAYS)" || { echo "expected a folder of X-rays, got '$(XRAYS)'; do make table XRAYS=DIR"; exit 2; }
	$(BIN)/cfgen study --bundle kermany-128 --data "$(XRAYS)" --split test \
		--further_limit 128 --out runs/study

# The same on phantoms, whose true counterfactuals are known, and with a planted shortcut
table-phantom: .venv/base
	$(BIN)/cfgen study --bundle phantom-64 --data phantom --marker phantom-64-marker \
		--limit 160 --further_limit 80 --out runs/study-phantom

# Every method, and saliency, against the true opacity, the true counterfactual and a planted marker
benchmark: .venv/base
	$(BIN)/cfgen benchmark --bundle phantom-64 --data phantom --marker phantom-64-marker \
		--limit 48 --out runs/benchmark

# How fast the searches are on this machine: make bench, or on X-rays make bench XRAYS=DIR
bench: .venv/base
	$(BIN)/python -m evaluation.speed.search --out docs/benchmark-speed.md \
		$(if $(XRAYS),--bundle kermany-128 --data "$(XRAYS)")
