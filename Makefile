# `make demo` and `make test` work from a fresh clone: all they need is Python >= 3.11 and make.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# A package index with the torch build you want, if pip's own configuration does not name one:
# see docs/installation.md.
TORCH_INDEX ?=
# `make env PIP_FLAGS=` shows what pip does.
PIP_FLAGS ?= -qq
PIP := $(BIN)/python -m pip install $(PIP_FLAGS) --disable-pip-version-check -c constraints.txt
# For example `make test PYTEST_FLAGS="-x -k programs"`.
PYTEST_FLAGS ?=
# For example `make fuzz FUZZ_FLAGS="--seed 7 --only predict"`.
FUZZ_FLAGS ?=
# For example `make attack ATTACK_FLAGS="--seed 7"`.
ATTACK_FLAGS ?=

.DEFAULT_GOAL := help
.PHONY: help env demo test test-all fuzz attack coverage lint format types docs notebooks clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

env: $(STAMP) ## create .venv with everything that the targets below need

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "scbig needs Python >= 3.11; name one: make env PYTHON=python3.12" >&2; exit 1; }
	@echo "[1/3] creating $(VENV) with $$($(PYTHON) --version)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "[2/3] installing torch"
	@$(PIP) $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) torch
	@echo "[3/3] installing scbig and its dependencies (a few minutes the first time)"
	@# An environment from before the rename would hold two distributions of one import name.
	@$(BIN)/python -m pip uninstall -qq -y scbig
	@$(PIP) -e '.[dev]'
	@touch $@

demo: env ## simulate a screen, train, predict and score; writes demo_out/
	@$(BIN)/scbig demo --out demo_out

test: env ## the tests, without the slow ones
	@$(BIN)/python -m pytest -m "not slow" $(PYTEST_FLAGS)

test-all: env ## every test
	@$(BIN)/python -m pytest $(PYTEST_FLAGS)

fuzz: env ## 1,500 odd inputs to all public verbs: each works or is refused by a check of ours
	@OMP_NUM_THREADS=1 $(BIN)/python docs/scripts/fuzz.py $(FUZZ_FLAGS)

attack: env ## kill every writer at every step, and give every loader hostile files
	@OMP_NUM_THREADS=1 $(BIN)/python docs/scripts/attack.py $(ATTACK_FLAGS)

coverage: env ## the tests of `make test`, and which lines they reach; coverage.xml
	@$(BIN)/python -m pytest -m "not slow" --cov --cov-report=term --cov-report=xml $(PYTEST_FLAGS)

lint: env ## style and formatting
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

format: env ## mend what lint can mend
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

types: env ## static types
	@$(BIN)/mypy

docs: env ## the documentation, warnings being errors; docs/_build/html/index.html
	@$(BIN)/sphinx-build -W -n --keep-going -q -b html docs docs/_build/html
	@echo "written: docs/_build/html/index.html"

notebooks: env ## run the tutorials and keep their outputs
	@$(BIN)/jupyter execute --inplace tutorials/*.ipynb

clean: ## remove everything that was made here
	rm -rf $(VENV) demo_out docs/_build docs/api/generated docs/jupyter_execute dist
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage coverage.xml lightning_logs
