# Everything is set up in .venv by the first target that needs it; nothing else has to be installed but Python 3.11 or newer.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# where nothing that was compiled is kept, each of the many processes of a test run compiles everything anew
unexport PYTHONDONTWRITEBYTECODE
READY := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help run test test-fast test-versions lowest coverage dist lint format docs notebooks screenshots lab bench peers clean

help: ## Show what can be made
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "golem_nb needs Python 3.11 or newer, and $(PYTHON) is $$($(PYTHON) --version 2>&1). Try: make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@

run: $(READY) ## Start a Golem network on this machine, compute a batch on it, print the bill
	$(BIN)/golem-nb demo

test: $(READY) ## All tests, on this Python; a smaller set on the others that are here
	$(BIN)/python -m pytest -n 2 --dist loadgroup --durations 15
	$(BIN)/nox --non-interactive --session versions

test-fast: $(READY) ## The tests that need no daemon, no browser and no patience
	$(BIN)/python -m pytest -n 2 -m 'not localnet and not slow and not browser' -q -p no:nbval --hypothesis-profile fast

test-versions: $(READY) ## A smaller set on the other Pythons that are here, and with other kernels
	$(BIN)/nox --non-interactive --session versions kernels

lowest: $(READY) ## The tests that need no daemon, with the oldest packages that are allowed
	$(BIN)/nox --non-interactive --session lowest

coverage: $(READY) ## All tests, measured in all their processes; less than 90 % of the statements is an error
	rm -rf .coverage && mkdir .coverage
	$(BIN)/python -m coverage run -m pytest -n 2 --dist loadgroup -q $(TESTS)
	$(BIN)/python -m coverage combine -q && $(BIN)/python -m coverage report

dist: $(READY) ## The source archive and the wheel, in dist
	$(BIN)/python -m hatchling build

lint: $(READY) ## Format, style, types, layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(READY) ## Put the code into shape
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(READY) ## Build the documentation into docs/_build/html; warnings are errors
	$(BIN)/sphinx-build -b html --fail-on-warning --keep-going -q docs docs/_build/html

notebooks: $(READY) ## Run the notebooks and save them with their outputs
	$(BIN)/python -m tests.notebooks.save

screenshots: $(READY) ## Take the pictures of the panels for README and documentation, in a real JupyterLab
	$(BIN)/python -m tests.browser.screenshots

lab: $(READY) ## JupyterLab with the notebooks
	$(BIN)/jupyter lab notebooks

bench: $(READY) ## Measure against other SDKs and the floor that the daemon sets
	$(BIN)/python -m benchmarks

peers: $(READY) ## Other SDKs on our local network
	$(BIN)/python -m pytest tests/peers --run-peers

clean: ## Remove what was built and installed here
	rm -rf $(VENV) .nox .coverage build dist docs/_build artifacts .mypy_cache .ruff_cache .pytest_cache
