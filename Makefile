# `make` lists the targets. Everything is installed into .venv of this folder and nowhere else.
#
# PYTHON=python3.12      another interpreter, 3.11 or newer (otherwise the first suitable one found)
# TORCH_INDEX=ADDRESS    where pip also looks for torch: the index that PyTorch's install page names for CPU or a
#                        CUDA version. On Linux pip's own choice is the CUDA build, several GB that a machine
#                        without a GPU has no use for. Both count when .venv is made: `make clean` before a change.
# PYTEST_ARGS="..."      more arguments for pytest: -k name, -x, -m gpu
# DIR=FOLDER             folder of recorded numbers for `make parity`
# SEEDS=N                how often `make ablations` repeats everything
# SECONDS=N              how long `make fuzz` tries each reader

.DEFAULT_GOAL := help
.PHONY: help demo test faults soak fuzz audit parity ablations bench lint types format clean
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PYTHON ?=
TORCH_INDEX ?=
PYTEST_ARGS ?=
DIR ?=
SEEDS ?= 1
SECONDS ?= 60
PIP_AUDIT := $(BIN)/pip-audit --disable-pip --no-deps --progress-spinner off

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' Makefile

demo: $(STAMP) ## caption the example pictures and draw them with their captions
	@PATH="$(CURDIR)/$(BIN):$$PATH" bash jobs/caption/demo.sh --overwrite
	@echo
	@echo "The captions are in out/demo/data (Parquet, one row a region), the pictures with them in out/demo/pictures.png."
	@echo "out/demo/report.html is a page to look through, in any browser."
	@echo "They come from model/tiny, a small model that was trained on drawn scenes: a demonstration, not the 8B model."

test: $(STAMP) ## run all tests (those marked gpu only with PYTEST_ARGS="-m gpu")
	$(BIN)/python -m pytest $(PYTEST_ARGS)

faults: $(STAMP) ## make every fault of docs/faults.md happen and print what was seen (mounts: as root, or where unshare may)
	$(BIN)/python -m tests.faults $(PYTEST_ARGS)

soak: $(STAMP) ## 100,000 regions through the pipeline, 50 kills: minutes; prints memory, files and processes left
	$(BIN)/python -m pytest -m soak -s $(PYTEST_ARGS)

fuzz: $(STAMP) ## feed all readers with broken inputs for SECONDS=60 each (atheris; Python 3.11 to 3.13 on Linux)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[fuzz]'
	$(BIN)/python -m tests.fuzz $(SECONDS)

audit: $(STAMP) ## bandit over both packages; pip-audit over constraints.txt (asks a database on the net)
	@test -x $(BIN)/bandit -a -x $(BIN)/pip-audit || \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[audit]'
	$(BIN)/bandit --quiet --configfile pyproject.toml --recursive model pdlm_cli
	@echo pip==24.0 | $(PIP_AUDIT) --format json --requirement /dev/stdin 2>/dev/null | grep -q '"vulns"' || \
		{ echo "make audit: bandit is clean; pip-audit was NOT run, and nothing is known of the versions in constraints.txt: the database of PyPI cannot be asked from here. Run it where that can be reached." >&2; exit 1; }
	$(PIP_AUDIT) --strict --requirement constraints.txt

parity: $(STAMP) ## compare with recorded numbers: make parity DIR=tests/data/region
	@test -n "$(DIR)" || { echo "make parity: name the folder of recorded numbers, e.g. DIR=tests/data/region" >&2; exit 2; }
	$(BIN)/python -m tests.parity "$(DIR)"

ablations: $(STAMP) ## repeat the paper's ablations in miniature: three hours on two cores; stopped, it goes on
	$(BIN)/python -m pdlm_cli ablations jobs/train/ablations --docs docs --seeds $(SEEDS)

bench: $(STAMP) ## measure every target of docs/performance.md, into docs/bench: 20 minutes on two idle cores
	@PATH="$(CURDIR)/$(BIN):$$PATH" bash jobs/bench/targets.sh

lint: $(STAMP) ## ruff: rules and formatting, nothing is changed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP) ## mypy over both packages
	$(BIN)/mypy

format: $(STAMP) ## ruff: mend what it can and format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## remove .venv, demo output and caches
	rm -rf $(VENV) out build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Made anew whenever what is to be installed has changed. --clear: a venv left half made, or by another
# interpreter, fails in ways that are hard to read.
$(STAMP): pyproject.toml constraints.txt
	@for python in $(or $(PYTHON),python3 python3.13 python3.12 python3.11); do \
		"$$python" -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && exec "$$python" -m venv --clear $(VENV); \
	done; \
	echo "make: no Python >= 3.11 with venv found. On Debian: apt-get install python3-venv; elsewhere: make PYTHON=/path/to/python3" >&2; exit 2
ifeq ($(TORCH_INDEX),)
	@test "$$(uname -s)" != Linux || command -v nvidia-smi >/dev/null || \
		echo "make: no GPU seen. If pip starts to fetch gigabytes of CUDA libraries, stop it and give it the CPU build: make TORCH_INDEX=ADDRESS (see the top of the Makefile)"
endif
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt \
		$(if $(TORCH_INDEX),--extra-index-url "$(TORCH_INDEX)") -e '.[dev]'
	@touch $@
