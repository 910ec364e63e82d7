# Everything a contributor or a reader runs. `make` prints the list.
#
# Needs Python >= 3.11, git and make; the targets build the virtual environment themselves.
#   make PYTHON=/path/to/python3.12 test    another interpreter
#   make VENV=/elsewhere/venv test          another place for the environment

PYTHON ?=
VENV ?= .venv
BIN := $(VENV)/bin

# 3.11 first: constraints.txt was resolved with it. 3.14 last: TensorFlow has no wheel for it yet.
CANDIDATES := python3.11 python3.12 python3.13 python3 python python3.14

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help demo test test-all check format reports fixtures bench fuzz docs clean

help: ## Print this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' $(firstword $(MAKEFILE_LIST)) \
		| while IFS='|' read -r target what; do printf '  make %-10s %s\n' "$$target" "$$what"; done

demo: $(VENV)/.runtime ## Train a run that learns and one that goes NaN, and report on both in demo/
	$(BIN)/forensics demo

test: check ## Check and run the tests that are not slow
	$(BIN)/python -m pytest -m "not slow"

test-all: check ## Check and run every test
	$(BIN)/python -m pytest

check: $(VENV)/.dev ## Formatting, lint, types and the floors between the rooms
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.dev ## Format the code and mend what ruff can mend
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

reports: $(VENV)/.runtime ## Render the gallery in reports/ from the fixtures
	$(BIN)/python -m forensics.report.gallery fixtures reports

fixtures: $(VENV)/.runtime ## Record the fixture runs anew (trains; takes minutes)
	$(BIN)/python fixtures/record.py

bench: $(VENV)/.bench ## Measure side by side with peers
	@for benchmark in benchmarks/*.py; do \
		[ -f "$$benchmark" ] || continue; \
		echo "$$benchmark"; $(BIN)/python "$$benchmark" || exit; \
	done

fuzz: $(VENV)/.dev ## Read 10,000 damaged files of every format (hours)
	$(BIN)/python -m tests.damage.fuzz

docs: $(VENV)/.runtime ## Write the detector pages in docs/ from the docstrings
	$(BIN)/python -m forensics.detectors.docs

clean: ## Remove the virtual environment, the demo and every cache
	rm -rf $(VENV) demo build dist .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The environment is current when its stamp is younger than these two files.
$(VENV)/.runtime: pyproject.toml constraints.txt
	@$(call make_venv)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e .
	@touch $@

# Holds the runtime too, so `make demo` after `make test` installs nothing.
$(VENV)/.dev: pyproject.toml constraints.txt
	@$(call make_venv)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	@touch $(VENV)/.runtime $@

$(VENV)/.bench: $(VENV)/.dev
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[bench]'
	@touch $@

# Keeps an environment that works; else makes one with the first interpreter that is new enough.
define make_venv
if ! $(BIN)/python -m pip --version >/dev/null 2>&1; then \
	for candidate in $(or $(PYTHON),$(CANDIDATES)); do \
		"$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue; \
		found=$$candidate; break; \
	done; \
	if [ -z "$${found-}" ]; then \
		echo "error: no Python >= 3.11 found$(if $(PYTHON), at $(PYTHON)); set PYTHON=/path/to/python3" >&2; exit 1; \
	fi; \
	if ! "$$found" -c 'import ensurepip, venv' 2>/dev/null; then \
		echo "error: $$found has no venv module (on Debian: install python3-venv)" >&2; exit 1; \
	fi; \
	echo "building $(VENV) with $$("$$found" --version): a few minutes, once"; \
	"$$found" -m venv --clear $(VENV); \
fi
endef
