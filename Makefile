# `make` shows what recae does; `make test` tests it. Both set up .venv first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# For example PIPARGS="--extra-index-url URL" with the CPU index of the PyTorch project.
PIPARGS ?=
INSTALLED := $(VENV)/.installed

.PHONY: quickstart test slow reproduce check clean

quickstart: $(INSTALLED)
	@$(BIN)/recae train pipelines/quickstart.toml

test: $(INSTALLED)
	OMP_NUM_THREADS=1 $(BIN)/pytest -n auto -m "not slow"

slow: $(INSTALLED)
	$(BIN)/pytest -m slow -v

# Every claimed number again; what is not in the folders of RECAE_DATA is skipped.
reproduce: $(INSTALLED)
	$(BIN)/python pipelines/reproduce.py

check: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest -q tests/test_layers.py

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis

# The stamp is newer than what decides the installation, so a second `make` starts at once.
$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "recae needs Python 3.11 or newer")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIPARGS) -c constraints.txt -e '.[test]'
	@touch $@
