# The commands of this project; `make` alone lists them.

PYTHON ?= python3
PORT ?= 8000
TESTERS ?= 2
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
COMPILE = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	--no-emit-find-links $(UPGRADE) pyproject.toml --extra embedded

# With LC_ALL=C, Python 3.11 and 3.12 do not start from a .venv whose path is not ASCII.
unexport LC_ALL

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help install run run-rabbitmq demo test test-deploy bench check format requirements clean

help: ## List the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

install: $(VENV)/.installed ## Make .venv with everything to run Penstock

run: $(VENV)/.installed ## Run Penstock on this machine with the samples, until Ctrl-C (PORT=8000)
	@$(BIN)/penstock up --port $(PORT)

run-rabbitmq: $(VENV)/.installed ## The same as four processes on a private RabbitMQ (needs rabbitmq-server)
	@$(BIN)/penstock up --port $(PORT) --rabbitmq

demo: $(VENV)/.installed ## The same as run, but end by itself; fails unless every sample ended as it must
	@$(BIN)/penstock up --port $(PORT) --exit-when-done

test: $(VENV)/.installed-dev ## Run all tests on real servers (ARGS="-k books" for some, TESTERS=0 in one process)
	@$(BIN)/python -m pytest --numprocesses $(TESTERS) --dist loadfile --no-loadscope-reorder $(ARGS)

test-deploy: $(VENV)/.installed-dev ## Build the images, start deploy/compose.yaml and test it (needs Docker; some minutes)
	@PENSTOCK_TEST_DEPLOY=yes $(BIN)/python -m pytest tests/deploy tests/e2e/test_away.py tests/e2e/test_rolling.py $(ARGS)

bench: $(VENV)/.installed ## Measure, one JSON line a figure (ONLY=import_new,reading for some; ARGS="--help")
	@$(BIN)/python -m bench --only "$(ONLY)" $(ARGS)

check: $(VENV)/.installed-dev ## Check format, lint, types and import rules
	@$(BIN)/ruff format --check
	@$(BIN)/ruff check
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: $(VENV)/.installed-dev ## Format the code and mend what lint can mend
	@$(BIN)/ruff format
	@$(BIN)/ruff check --fix

requirements: $(VENV)/.installed-dev ## Pin the dependencies of pyproject.toml anew (UPGRADE=--upgrade for newer ones)
	@$(COMPILE) --group build --output-file requirements.txt
	@$(COMPILE) --group dev --constraint requirements.txt --output-file requirements-dev.txt
	@deploy/pin

clean: ## Remove .venv and caches; the data in .penstock stay
	@rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Penstock needs Python 3.11 or later, this is " \
		+ sys.version.split()[0] + "; name another one: make PYTHON=python3.12 ...")'
	@$(PYTHON) -m venv --clear $(VENV) || { rm -rf $(VENV); exit 1; }

# A virtualenv outlives the interpreter's own time stamp, so its age says nothing (order-only).
$(VENV)/.installed: requirements.txt pyproject.toml | $(BIN)/python
	@echo "Installing into $(VENV), once ..." >&2
	@$(PIP) install --require-hashes --requirement requirements.txt
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.installed-dev: requirements-dev.txt pyproject.toml | $(BIN)/python
	@echo "Installing into $(VENV), with what tests and checks need, once ..." >&2
	@$(PIP) install --require-hashes --requirement requirements-dev.txt
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $(VENV)/.installed $@
