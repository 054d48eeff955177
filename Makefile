# Everything a newcomer needs: `make example`, `make test`. Each makes .venv if there is none.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: example test slow lint format docs

example: .venv/installed
	$(BIN)/python examples/qbert4rec.py

test: .venv/installed
	$(BIN)/python -m pytest -m "not slow"

slow: .venv/installed
	$(BIN)/python -m pytest -m slow

lint: .venv/installed
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/pyright

format: .venv/installed
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

docs: .venv/documenting
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

.venv/documenting: .venv/installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[docs]'
	touch $@

.venv/installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@
