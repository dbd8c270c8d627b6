# Two commands for a newcomer, each doing the whole set-up in this checkout: make demo, make test.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test

demo: .venv/.installed
	$(BIN)/python -m experiments.run name=demo

test: .venv/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m pytest

.venv/.installed: pyproject.toml constraints.txt
	$(PYTHON) -c "import sys; sys.exit(0 if sys.version_info >= (3, 11) else 'scenelet needs Python 3.11 or newer: make PYTHON=python3.11 ...')"
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[test]"
	touch $@
