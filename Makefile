# Two commands do everything: `make demo` and `make test`. They need Python >= 3.11, git and make,
# and install what else is needed into .venv, at the versions of constraints.txt.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.PHONY: help demo session test lint types layers pytest conformance study format lock clean

help:
	@echo "make demo         run a scan with live reduction and show what comes out"
	@echo "make session      an IPython session with a simulated detector, reduced live"
	@echo "make test         all checks: ruff, mypy, import-linter, pytest"
	@echo "make conformance  renew CONFORMANCE.md: every feature beside pyFAI (some minutes)"
	@echo "make study        renew CALIBRATION.md: calibrations of simulated and real frames (hours)"
	@echo "make format       format the code and mend what ruff can mend"
	@echo "make lock         renew constraints.txt"

demo: $(VENV)/.user
	$(BIN)/bluesky-azint demo

session: $(VENV)/.user
	$(BIN)/bluesky-azint profiles start demo

test: lint types layers pytest

lint: $(VENV)/.developer
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(VENV)/.developer
	$(BIN)/mypy

layers: $(VENV)/.developer
	$(BIN)/lint-imports

pytest: $(VENV)/.developer
	$(BIN)/pytest --numprocesses auto --dist loadfile

conformance: $(VENV)/.developer
	$(BIN)/python -m tests.conformance.report

study: $(VENV)/.developer
	$(BIN)/python -m tests.study.report

format: $(VENV)/.developer
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

# The versions that the newest pip resolves today, on the Python that runs this.
lock:
	rm -rf build/lock
	$(PYTHON) -m venv build/lock
	build/lock/bin/python -m pip install --quiet 'pip>=25.1'
	build/lock/bin/python -m pip install --quiet '.[all]' --group dev
	echo "# Versions that are tested together; renewed by 'make lock'." > constraints.txt
	build/lock/bin/python -m pip freeze --exclude bluesky-azint >> constraints.txt

clean:
	rm -rf $(VENV) build src/*.egg-info

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
	$(PIP) install 'pip>=25.1'

$(VENV)/.user: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing into $(VENV): some minutes the first time."
	$(PIP) install --constraint constraints.txt --editable '.[all]'
	@touch $@

$(VENV)/.developer: $(VENV)/.user
	$(PIP) install --constraint constraints.txt --group dev
	@touch $@
