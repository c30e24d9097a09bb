# Everything is set up in .venv, by uv where it is installed, else by venv and pip.
# PYTHON=/path/to/python3.13 picks another interpreter; ARGS="09 11" picks chapters for export, refresh and measure,
# CHAPTER=05 the one for reset.

BIN := .venv/bin
ARGS ?=
CHAPTER ?=
JOBS ?= 4
MINUTES ?= 10
SHAKE ?= 0.1
export PYTHON

# The Python that sets everything up: any will do, or uv. Nobody has none and wants to read the shell's opinion of it.
found := $(firstword $(foreach name,$(PYTHON) python3 python,$(shell command -v $(name) 2>/dev/null)))
uv := $(shell command -v uv 2>/dev/null)
run := $(or $(found),$(if $(uv),$(uv) run --quiet --no-project python))
have-python:
	@[ -n "$(run)" ] || { echo "There is no Python here: install 3.11 or newer (3.13 is a good choice), or uv." >&2; exit 1; }

.DEFAULT_GOAL := help
.PHONY: help have-python lab reset slides site test test-all quick fuzz shake lint refresh measure export bench constraints binder-check clean test-env

help:
	@echo "make lab       set up the course and open its first chapter in JupyterLab, in a copy for you: my-course/"
	@echo "make reset     give a chapter of your copy back as it came     (CHAPTER=05); yours is kept"
	@echo "make slides    some chapters as talks, into talks/    (ARGS=\"00 12\" for some of them)"
	@echo "make site      the static site, into site/: chapters as pages, and JupyterLite, which runs them (needs npm)"
	@echo "make test      every check: style, types, tests, and each notebook run and compared (a few minutes)"
	@echo "make test-all  that, and what needs more: Chromium, npm, a JupyterHub, fresh environments (Binder's, the wheel's)"
	@echo "make quick     the same without the notebooks and the slow tests"
	@echo "make fuzz      odd octets for both ends and every parser, for MINUTES=10 (with atheris where it is installed)"
	@echo "make shake     the notebooks, while threads and sockets stumble: what depends on their order shows   (SHAKE=0.1)"
	@echo "make lint      style, types, spelling, links, and whether each module is what its notebook says"
	@echo "make export    notebooks -> modules            (ARGS=\"09 11\" for some chapters only)"
	@echo "make refresh   export, run every notebook afresh, store what it showed"
	@echo "make measure   the same, and renew the measured outputs too"
	@echo "make bench     measure against other software, into tests/bench/measured.md too (ARGS=\"S1 tail\": these rows, only shown)"
	@echo "make clean     remove what was built; the environment too with 'rm -rf .venv'"

test-env: have-python
	@$(run) tools/setup_venv.py test

lab: have-python
	@$(run) tools/lab.py $(ARGS)

reset: have-python
	@$(run) tools/my_course.py reset "$(CHAPTER)"

slides: have-python
	@$(run) tools/setup_venv.py course
	@$(BIN)/python tools/slides.py $(ARGS)

# Pyodide, Python for the browser, comes from the npm registry; ARGS=lite or ARGS=pages builds one half.
site: have-python
	@$(run) tools/setup_venv.py site
	@$(BIN)/python tools/website $(ARGS)

lint: test-env
	@echo "ruff, mypy, codespell, links, modules against notebooks"
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy
	@$(BIN)/codespell
	@$(BIN)/python tools/links.py
	@$(BIN)/python tools/export.py --check

test: lint
	@echo "pytest, the notebooks included"
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m pytest -q -n $(JOBS) --dist loadfile --nbval --nbval-current-env --nbval-cell-timeout=60 $(ARGS)

# What a machine lacks is skipped, and the reason says what brings it.
test-all: lint slides
	@$(run) tools/setup_venv.py site
	@echo "pytest, the notebooks included, and all that is slow"
	@PATH="$(CURDIR)/$(BIN):$$PATH" EVERYTHING=1 $(BIN)/python -m pytest -q -n $(JOBS) --dist loadfile --nbval --nbval-current-env --nbval-cell-timeout=60 $(ARGS)

quick: lint
	@$(BIN)/python -m pytest -q tests -m "not slow" $(ARGS)

fuzz: test-env
	@$(BIN)/python -m tests.fuzz --minutes $(MINUTES) $(ARGS)

shake: test-env
	@PATH="$(CURDIR)/$(BIN):$$PATH" SHAKE=$(SHAKE) PYTHONPATH="$(CURDIR)/tests/shaken" $(BIN)/python -m pytest -q -n $(JOBS) \
	    --dist loadfile --timeout 900 --nbval --nbval-current-env --nbval-cell-timeout=600 $(or $(ARGS),notebooks)

export: test-env
	@$(BIN)/python tools/export.py $(ARGS)

refresh: test-env
	@$(BIN)/python tools/refresh.py $(ARGS)

measure: test-env
	@$(BIN)/python tools/refresh.py --measure $(ARGS)

bench: test-env
	@$(BIN)/python -m tests.bench --write tests/bench/measured.md $(ARGS)

# For maintainers: newer versions (needs uv), and what Binder would build (no Docker needed).
constraints: test-env
	@{ head -n 2 constraints.txt; uv pip compile --quiet --universal --python-version 3.11 --all-extras --upgrade \
	    --no-annotate --no-header pyproject.toml; } > constraints.new && mv constraints.new constraints.txt
	@$(BIN)/python tools/environment.py

binder-check: test-env
	@$(BIN)/jupyter-repo2docker --no-build --debug .

clean:
	@rm -rf build dist site .mypy_cache .ruff_cache .pytest_cache .hypothesis *.egg-info
	@find . -path ./.venv -prune -o \( -name __pycache__ -o -name .ipynb_checkpoints \) -type d -exec rm -rf {} +
