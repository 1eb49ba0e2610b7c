# make demo | test | test-all | test-newest | docs | lint | types | clean
# Needs Python >= 3.11, git and make. Everything is installed into .venv; a second run starts at once.

SHELL := /bin/sh
VENV ?= .venv
NEWEST ?= .venv-newest
PYTHON ?=
DATA ?=
GENES ?=
GROUPBY ?=
BATCH ?=
SIZE_FACTOR ?=
RNA ?=
ATAC ?=
LAYER ?=
ARGS ?=

BIN := $(VENV)/bin
INSTALL := -m pip install -qq --disable-pip-version-check -c constraints.txt
# on all cores, up to four
FAST := -m pytest -m "not slow" -n auto --maxprocesses 4 --dist loadfile

.DEFAULT_GOAL := help
.PHONY: help demo test test-all test-newest docs lint types clean
.DELETE_ON_ERROR:

help:
	@echo "make demo [DATA=my.h5mu]  the main job on simulated data, or on your own file; results in demo/, replacing an"
	@echo "                          earlier run's; ARGS=\"--out folder\" puts them elsewhere"
	@echo "make test                 the fast tests"
	@echo "make test-all             all tests; real data where SCTANDEM_DATA names their folder"
	@echo "make test-newest          the fast tests on the newest releases, under a Python >= 3.12"
	@echo "make docs                 the documentation, warnings are errors; docs/_build/html/index.html"
	@echo "make lint | types         ruff | mypy"
	@echo "make clean                removes the environments and what was built"
	@echo "Options: PYTHON=/path/to/python3 for the environment; ARGS=\"...\" goes to pytest (\"-k name\") and the demo"
	@echo "Your file: GENES=genes.gtf (or .bed) where it does not say where the genes lie, GROUPBY=cell_type, BATCH=donor,"
	@echo "           SIZE_FACTOR=total_counts (library sizes, where its genes are a selection), RNA=gex ATAC=peaks (names of its"
	@echo "           modalities, where they are not rna and atac), LAYER=counts (where X of the expression does not hold counts)"

# A stamp a step: made again only when what it depends on has changed.
$(VENV)/.made:
	@python=$$(PYTHON="$(PYTHON)" sh tools/find_python.sh 3.11) && echo "Making $(VENV) with $$python" && "$$python" -m venv --clear "$(VENV)"
	@"$(BIN)/python" -m pip install -qq --disable-pip-version-check "pip>=25.1"
	@touch $@

$(VENV)/.package: $(VENV)/.made pyproject.toml constraints.txt
	@echo "Installing sctandem into $(VENV); some minutes the first time"
	@"$(BIN)/python" $(INSTALL) -e .
	@touch $@

$(VENV)/.group-%: $(VENV)/.package
	@echo "Installing what '$*' needs into $(VENV)"
	@"$(BIN)/python" $(INSTALL) --group $*
	@touch $@

demo: $(VENV)/.group-demo
	"$(BIN)/python" -m benchmarks.demo $(if $(DATA),--data "$(DATA)") --out demo$(if $(GENES), --genes "$(GENES)")$(if \
	$(GROUPBY), --groupby "$(GROUPBY)")$(if $(BATCH), --batch "$(BATCH)")$(if $(SIZE_FACTOR), --size-factor "$(SIZE_FACTOR)")$(if \
	$(RNA), --rna "$(RNA)")$(if $(ATAC), --atac "$(ATAC)")$(if $(LAYER), --layer "$(LAYER)") $(ARGS)

test: $(VENV)/.group-test
	"$(BIN)/python" $(FAST) $(ARGS)

test-all: $(VENV)/.group-test
	"$(BIN)/python" -m pytest $(ARGS)

# Asks for the newest releases at every run, in an environment of its own.
test-newest:
	@python=$$(PYTHON="$(PYTHON)" sh tools/find_python.sh 3.12) || { echo "make test-newest: nothing was tested."; exit 1; }; \
	[ -x "$(NEWEST)/bin/python" ] || { echo "Making $(NEWEST) with $$python"; "$$python" -m venv --clear "$(NEWEST)"; }
	@"$(NEWEST)/bin/python" -m pip install -qq --disable-pip-version-check "pip>=25.1"
	@echo "Installing the newest releases into $(NEWEST); some minutes the first time"
	@"$(NEWEST)/bin/python" $(INSTALL) --upgrade --upgrade-strategy eager -e ".[massive]" --group test
	@"$(NEWEST)/bin/python" -m pip list --disable-pip-version-check 2>/dev/null | grep -E "^(anndata|annbatch|mudata|numpy|pandas|scanpy|scipy|scvi-tools|torch) "
	"$(NEWEST)/bin/python" $(FAST) $(ARGS)

docs: $(VENV)/.group-doc
	"$(BIN)/python" -m sphinx -n -W --keep-going -b html docs docs/_build/html

lint: $(VENV)/.group-dev
	"$(BIN)/python" -m ruff check .
	"$(BIN)/python" -m ruff format --check .

types: $(VENV)/.group-typecheck
	"$(BIN)/python" -m mypy

clean:
	rm -rf "$(VENV)" "$(NEWEST)" docs/_build docs/api/generated build dist demo .mypy_cache .pytest_cache .ruff_cache
