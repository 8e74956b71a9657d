# Two commands do everything: `make demo` and `make test`. They need Python >= 3.11, git and make,
# and install what else is needed into .venv, at the versions of constraints.txt. uv does that in a
# tenth of pip's time; it does not read pip's configuration: where packages come from elsewhere than
# PyPI, set UV_DEFAULT_INDEX.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/uv pip install --quiet --python
# One more than there are cores, for many tests wait for servers.
WORKERS ?= $(shell expr $$(getconf _NPROCESSORS_ONLN) + 1)
# blueapi wants an older Tiled than the package does, so it has an environment of its own.
BLUEAPI := .venv-blueapi

.PHONY: help demo session test lint types layers pytest conformance study measures format lock clean

help:
	@echo "make demo         run a scan with live reduction and show what comes out"
	@echo "make session      an IPython session with a simulated detector, reduced live"
	@echo "make test         all checks: ruff, mypy, import-linter, pytest"
	@echo "make conformance  renew CONFORMANCE.md: every feature beside pyFAI (some minutes)"
	@echo "make study        renew CALIBRATION.md: calibrations of simulated and real frames (hours)"
	@echo "make measures     what the service promises: nothing lost, memory, speed (an hour)"
	@echo "make format       format the code and mend what ruff can mend"
	@echo "make lock         renew constraints.txt and constraints-blueapi.txt"

demo: $(VENV)/.user
	$(BIN)/bluesky-azint demo

session: $(VENV)/.user
	$(BIN)/bluesky-azint profiles start demo

# Side by side, for none of them keeps all cores busy.
test: $(VENV)/.developer $(BLUEAPI)/.ready
	$(MAKE) --jobs 2 --output-sync=line lint types layers pytest

lint: $(VENV)/.developer
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(VENV)/.developer
	$(BIN)/mypy

layers: $(VENV)/.developer
	$(BIN)/lint-imports

pytest: $(VENV)/.developer $(BLUEAPI)/.ready
	$(BIN)/pytest --numprocesses $(WORKERS) --dist worksteal

conformance: $(VENV)/.developer
	$(BIN)/python -m tests.conformance.report

study: $(VENV)/.developer
	$(BIN)/python -m tests.study.report

measures: $(VENV)/.developer
	for name in never_lost scan_time memory sustained retrieval transports fuzz; do \
	    $(BIN)/python -m tests.measures.$$name || failed=1; \
	done; test -z "$$failed"

format: $(VENV)/.developer
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

# The versions that are resolved today, on the Python that runs this.
lock: | $(BIN)/python
	rm -rf build/lock build/lock-blueapi
	$(BIN)/uv venv --quiet --python $(PYTHON) build/lock
	$(BIN)/uv venv --quiet --python $(PYTHON) build/lock-blueapi
	$(INSTALL) build/lock '.[all]' --group dev
	$(INSTALL) build/lock-blueapi '.[ophyd,service]' blueapi
	for name in '' -blueapi; do \
	    echo "# Versions that are tested together; renewed by 'make lock'." > constraints$$name.txt; \
	    $(BIN)/uv pip freeze --quiet --python build/lock$$name | grep -v ^bluesky-azint \
	        >> constraints$$name.txt; \
	done

clean:
	rm -rf $(VENV) $(BLUEAPI) build src/*.egg-info

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip --disable-pip-version-check --quiet install 'uv>=0.6'

$(VENV)/.user: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing into $(VENV)."
	$(INSTALL) $(VENV) --constraint constraints.txt --editable '.[all]'
	@touch $@

$(VENV)/.developer: $(VENV)/.user
	$(INSTALL) $(VENV) --constraint constraints.txt --group dev
	@touch $@

$(BLUEAPI)/.ready: pyproject.toml constraints-blueapi.txt | $(BIN)/python
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(BLUEAPI)
	$(INSTALL) $(BLUEAPI) --constraint constraints-blueapi.txt \
	    --editable '.[ophyd,service]' blueapi
	@touch $@
