# make install: into .venv.
# make demo: install, run the whole loop on the virtual mouse, and show where the report is.
# make test: install and run the tests.
# make docs: the documentation as pages, in docs/site; a broken link between pages is an error.
# make style: ruff, mypy, snakefmt and Snakemake's own lint.
# make bench: how fast training, MEIs and start-up are beside others, to benchmarks/latest.json; 7 to 20 minutes.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: install demo test docs bench style

install: $(VENV)/installed

demo: $(VENV)/installed
	$(BIN)/snakemake --cores all
	@echo
	@echo "The report: results/report.html"

test: $(VENV)/installed-test
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder --durations=30

docs: $(VENV)/installed-docs
	$(BIN)/sphinx-build --fail-on-warning --keep-going --quiet -b html docs docs/site
	@echo "The documentation: docs/site/index.html"

bench: $(VENV)/installed-test
	$(BIN)/python benchmarks/speed.py

style: $(VENV)/installed-style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(VENV)-snakefmt/bin/snakefmt --check Snakefile workflow/rules
	$(BIN)/snakemake --lint

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable .
	touch $@

$(VENV)/installed-test: $(VENV)/installed
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[test]"
	touch $@

$(VENV)/installed-docs: $(VENV)/installed
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[docs]"
	touch $@

# snakefmt brings a black of its own, so it has an environment of its own.
$(VENV)/installed-style: $(VENV)/installed
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[style]"
	$(PYTHON) -m venv $(VENV)-snakefmt
	$(VENV)-snakefmt/bin/pip install --quiet snakefmt
	touch $@
