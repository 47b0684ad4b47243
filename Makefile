# On a fresh machine: `make demo` shows what this is, `make test` shows that it works.
# A CPU-only torch is enough. On Linux, pip takes the CUDA build unless told otherwise:
#   make demo PIP_FLAGS="--extra-index-url https://download.pytorch.org/whl/cpu"

PYTHON ?= python3
PIP_FLAGS ?=
# How many processes run tests.
JOBS ?= 2
VENV := .venv
BIN := $(VENV)/bin
PACKAGING := setup.py pyproject.toml constraints.txt

.PHONY: help demo test check check-all check-ray bench bench-check lint types imports clean

help:
	@echo "make demo       install, compare transmission methods on digits, write the figure"
	@echo "make test       the tests"
	@echo "make check      lint, types, import contract, tests"
	@echo "make check-all  the same with the long tests; with those of Ray where make check-ray was here before"
	@echo "make check-ray  install Ray (250 MB), and run the tests on a cluster of two machines, of which one is lost"
	@echo "make bench      ratios of speed, each measured in one run; bench-check fails past a bound"

$(VENV)/installed: $(PACKAGING)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "syft_fl needs Python 3.11 or newer; make PYTHON=python3.11 …")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt $(PIP_FLAGS) --editable .
	touch $@

$(VENV)/installed-test: $(VENV)/installed
	$(BIN)/pip install --quiet --constraint constraints.txt $(PIP_FLAGS) --editable '.[test]'
	touch $@

demo: $(VENV)/installed
	$(BIN)/python experiments/digits.py

test: $(VENV)/installed-test
	$(BIN)/python -m pytest -q -n $(JOBS) --dist worksteal

lint: $(VENV)/installed-test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(VENV)/installed-test
	$(BIN)/mypy

imports: $(VENV)/installed-test
	$(BIN)/lint-imports

check: lint types imports test

check-all: lint types imports
	$(BIN)/python -m pytest -q -n $(JOBS) --dist worksteal -m "long or not long"

$(VENV)/installed-ray: $(VENV)/installed-test
	$(BIN)/pip install --quiet --constraint constraints.txt $(PIP_FLAGS) --editable '.[test,ray]'
	touch $@

check-ray: $(VENV)/installed-ray
	$(BIN)/python -m pytest -q -m "long or not long" -k "ray" tests/integration/test_ray_cluster.py tests/contracts/test_engines.py

bench: $(VENV)/installed-test
	$(BIN)/python tests/bench

bench-check: $(VENV)/installed-test
	$(BIN)/python tests/bench --check

clean:
	rm -rf $(VENV) build dist *.egg-info results
