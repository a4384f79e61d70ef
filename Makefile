# Every target makes .venv if it is missing, installs the package there, and does its job.
# `make PYTHON=python3.12 test` chooses another interpreter; delete .venv (make clean-venv) to change it later.

PYTHON ?= python3
# Processes that share the tests; each holds a TensorFlow and up to 4 GB. WORKERS=0: this one alone, for a debugger.
WORKERS ?= 2
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
FOLDERS := visual_foresight train planners envs
CHECKED := $(FOLDERS) tests $(wildcard benchmarks)

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help install demo test test-all lint format bench wheel clean clean-venv

help:
	@echo "make demo      plan pushes with the shipped predictor; writes demo/report.html, demo/demo.gif, demo/demo.mp4"
	@echo "make test      the tests without the slow ones;  make test-all  all of them"
	@echo "make lint      ruff check, ruff format --check, mypy;  make format  lets ruff rewrite the files"
	@echo "make bench     measures speed on this machine"
	@echo "make wheel     builds dist/visual_foresight-*.whl"
	@echo "make install   only the environment;  make clean  removes what was built;  make clean-venv  removes .venv"

install: $(INSTALLED)

$(BIN)/python:
	@command -v $(PYTHON) >/dev/null || { echo "error: $(PYTHON) was not found; install Python 3.11 or newer, or run: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "error: $(PYTHON) is $$($(PYTHON) --version 2>&1); Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "error: $(PYTHON) could not make a virtual environment; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }

$(INSTALLED): pyproject.toml | $(BIN)/python
	@echo "Installing Visual Foresight into $(VENV) (once; a few minutes, TensorFlow is large) ..."
	@$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@

demo: $(INSTALLED)
	$(BIN)/visual-foresight demo --output demo $(ARGS)

test: $(INSTALLED)
	$(BIN)/python -m pytest -n $(WORKERS) -m "not slow" $(ARGS)

test-all: $(INSTALLED)
	$(BIN)/python -m pytest -n $(WORKERS) $(ARGS)

# mypy finds packages by folder, so it is shown the import layout: four folders under one name.
lint: $(INSTALLED)
	$(BIN)/ruff check $(CHECKED)
	$(BIN)/ruff format --check $(CHECKED)
	@rm -rf $(VENV)/typecheck && mkdir -p $(VENV)/typecheck/visual_foresight
	@ln -s $(CURDIR)/visual_foresight/* $(CURDIR)/train $(CURDIR)/planners $(CURDIR)/envs $(VENV)/typecheck/visual_foresight/
	cd $(VENV)/typecheck && $(CURDIR)/$(BIN)/mypy --config-file $(CURDIR)/pyproject.toml -p visual_foresight

format: $(INSTALLED)
	$(BIN)/ruff check --fix $(CHECKED)
	$(BIN)/ruff format $(CHECKED)

bench: $(INSTALLED)
	$(BIN)/visual-foresight bench $(ARGS)

wheel: $(INSTALLED)
	rm -rf dist build
	$(BIN)/python -m build --wheel --outdir dist .

clean:
	rm -rf build dist demo .pytest_cache .mypy_cache .ruff_cache .hypothesis $(VENV)/typecheck
	find $(CHECKED) -name __pycache__ -type d -prune -exec rm -rf {} +

clean-venv:
	rm -rf $(VENV) visual_foresight.egg-info
