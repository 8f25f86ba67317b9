# The commands of this project; `make help` lists them. PYTHON=… names another interpreter (3.11 to 3.14) for the environment.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
LABEL := .venv-label
LOWEST := .venv-lowest
NEWEST := .venv-newest
NEWEST_PYTHON ?= 3.14

.DEFAULT_GOAL := help
.PHONY: help install demo test test-long label-test range-test package reference fuzz lint clean

help:  ## list the commands
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1|\2/p' Makefile | awk -F'|' '{ printf "%-17s%s\n", $$1, $$2 }'

install: $(INSTALLED)  ## make the environment .venv with the pinned dependencies

$(BIN)/python:
	@command -v $(PYTHON) >/dev/null || { echo "No $(PYTHON) here; name one: make $(MAKECMDGOALS) PYTHON=python3.13"; exit 1; }
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(not (3, 11) <= v <= (3, 14))' || { \
		echo "$$($(PYTHON) --version) found, 3.11 to 3.14 needed: make $(MAKECMDGOALS) PYTHON=python3.13"; exit 1; }
	$(PYTHON) -m venv --clear $(VENV) || { rm -rf $(VENV); exit 1; }

# torch comes first and by its exact version, so that a build already there (one without CUDA, say) is kept
$(INSTALLED): requirements.txt | $(BIN)/python
	$(BIN)/python -m pip install --disable-pip-version-check "$$(grep '^torch==' requirements.txt)"
	$(BIN)/python -m pip install --disable-pip-version-check -r requirements.txt
	@touch $@

demo: install  ## example volumes, training, inference, scores, a picture and a page, under outputs/demo
	cd bundle && ../$(BIN)/python -m scripts.compare.demo --output_dir ../outputs/demo

# two at a time, each with one thread; tests/conftest.py has the order, tests/warm.py makes the commands that are started quick
test: install  ## the tests, with the coverage of bundle/scripts; ARGS="-k watershed" is handed to pytest
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --cov -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

test-long: install  ## the tests that `make test` leaves out: many fuzz cases and kills, the whole tutorial; before a release
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m long --cold -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

# MONAI Label wants older packages than the bundle, so it has an environment of its own, of the same Python
$(LABEL)/.installed: requirements.txt tests/label/requirements.txt | $(INSTALLED)
	$(BIN)/python -m venv --clear $(LABEL)
	$(LABEL)/bin/python -m pip install --disable-pip-version-check "$$(grep '^torch==' requirements.txt)"
	$(LABEL)/bin/python -m pip install --disable-pip-version-check --no-deps -r requirements.txt -r tests/label/requirements.txt
	@touch $@

label-test: install $(LABEL)/.installed  ## the environment .venv-label, and the tests of a MONAI Label server in it
	$(BIN)/python -m pytest tests/test_label_server.py $(ARGS)

# The ends of the ranges in pyproject.toml. uv resolves them, and fetches the interpreters where they are not there.
# --no-config: the [tool.uv.pip] there is for requirements.txt, and would bring wheels of Python 3.11 to any other.
range-test: install  ## the tests with the lowest versions on Python 3.11, and with the newest on Python 3.14 (NEWEST_PYTHON=… names another)
	$(BIN)/python -m pip install --disable-pip-version-check uv
	$(BIN)/uv venv --clear --python 3.11 $(LOWEST)
	$(BIN)/uv pip install --no-config --python $(LOWEST) --resolution lowest-direct -r pyproject.toml --extra dev
	OMP_NUM_THREADS=1 $(LOWEST)/bin/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)
	$(BIN)/uv venv --clear --python $(NEWEST_PYTHON) $(NEWEST)
	$(BIN)/uv pip install --no-config --python $(NEWEST) -r pyproject.toml --extra dev
	OMP_NUM_THREADS=1 $(NEWEST)/bin/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

package: install  ## the zip for the model zoo, under dist/, tried from an empty folder
	$(BIN)/python tools/package.py $(ARGS)

reference: install  ## docs/reference/, the pages of keys, commands, files and Python, from the sources
	$(BIN)/python tools/reference.py

fuzz: install  ## 20,000 damaged files for each reader, the weights and the watershed; ARGS="--first 20000" for other ones
	$(BIN)/pytest -q tests/test_fuzz.py -k any --hypothesis-profile random
	$(BIN)/python tools/fuzz.py --cases 20000 $(ARGS)

lint: install  ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy bundle/scripts

clean:  ## remove caches; .venv, outputs/ and dist/ stay
	rm -rf .coverage .coverage.* htmlcov .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find bundle tests tools -name __pycache__ -type d -prune -exec rm -rf {} +
