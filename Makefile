# What a checkout is set up, tested and documented with; everything is installed into .venv.
PYTHON ?= python3
BIN := .venv/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable
# Stamps: the package alone, and the package with all that tests and documentation need.
PACKAGE := .venv/.package
EVERYTHING := .venv/.everything

.DEFAULT_GOAL := help
.PHONY: help install demo test docs clean

help:  ## print this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(PACKAGE)  ## install scenelet into .venv (about 6 GB, mostly PyTorch's CUDA packages)

demo: $(PACKAGE)  ## train, quantise and score on a synthetic miniature: 2 to 4 minutes on 2 cores
	$(BIN)/scenelet all name=demo

test: $(EVERYTHING)  ## ruff, mypy and all tests but the slow ones
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -m "not slow" --numprocesses=logical --maxprocesses=4 --dist=loadfile

docs: $(EVERYTHING)  ## build the documentation into site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

clean:  ## remove what tests and documentation leave; .venv, cache/ and runs/ stay
	rm -rf build site .pytest_cache .ruff_cache .mypy_cache .hypothesis
	find data teachers students experiments tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(PACKAGE): pyproject.toml constraints.txt
	$(PYTHON) -c "import sys; sys.exit(0 if sys.version_info >= (3, 11) else 'scenelet needs Python 3.11 or newer: make PYTHON=python3.11 ...')"
	$(PYTHON) -m venv .venv
	$(INSTALL) .
	touch $@

$(EVERYTHING): $(PACKAGE)
	$(INSTALL) ".[test]"
	touch $@
