# The two commands a newcomer needs are `make demo` and `make test`; `make help` has the others.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
LOCKED := --require-hashes --requirement requirements.lock
# uv installs in a third of pip's time. It does not read pip's configuration: where it finds no index, pip installs.
# What is installed is stamped with the lock it came from, so that a changed lock installs again.
STAMP := $(VENV)/.installed
# Two processes share the files of tests, in their order.
SHARED := --numprocesses 2 --dist loadfile --no-loadscope-reorder

.PHONY: help install demo lint check test locks rehearsal faults mutants bench clean

help:  ## this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 16

install: $(STAMP)  ## an environment in .venv, from requirements.lock

$(STAMP): requirements.lock pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) 'uv>=0.9'
	$(BIN)/uv pip install --quiet --python $(BIN)/python --compile-bytecode $(LOCKED) || $(PIP) $(LOCKED)
	$(PIP) --no-deps --no-build-isolation --editable .
	touch $(STAMP)

demo: install  ## the bundled Wikipedia articles studied here, in minutes
	$(BIN)/batchscope demo

lint: install  ## ruff, mypy and the contracts of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# The tests of each room's own logic, for every commit, with few examples each: what is `slow`, trains or starts a Ray is
# left to `make test`.
check: install  ## the quick tests
	$(BIN)/pytest tests/unit -m "not ray and not tf and not slow" --hypothesis-profile few $(SHARED)

# The longest files are not among the last. What starts a Ray comes after the others: beside them its processes starve.
# The rehearsal plays beside them, since it mostly waits.
test: install  ## all tests, or those of FILE=tests/unit/study
ifdef FILE
	$(BIN)/pytest $(FILE)
else
	$(BIN)/pytest -m "not ray" $(SHARED)
	$(BIN)/pytest tests/rehearsal & rehearsal=$$!; trap "kill $$rehearsal" INT TERM; \
	$(BIN)/pytest -m ray tests/integration $(SHARED); others=$$?; wait $$rehearsal && exit $$others
endif

# What machines of a fleet install: for all, and for those with cards the rest of TensorFlow's extra.
COMPILE := $(BIN)/uv pip compile pyproject.toml --quiet --generate-hashes --no-header --no-annotate \
	--python-version 3.12 --python-platform x86_64-manylinux_2_28 --constraint requirements.lock
LOCKS := cluster/fleet/locks

locks: install  ## what machines of a fleet install, from requirements.lock
	$(COMPILE) --output-file $(LOCKS)/base.lock
	$(COMPILE) --extra gpu --output-file $(LOCKS)/cuda.lock
	$(BIN)/python -c "import re; from pathlib import Path; base, cuda = Path('$(LOCKS)/base.lock'), Path('$(LOCKS)/cuda.lock'); \
	found = lambda path: re.findall(r'(?m)^\S.*(?:\n    .*)*\n', path.read_text()); \
	have = set(found(base)); cuda.write_text(''.join(one for one in found(cuda) if one not in have))"

# Needs root, namespaces and an ssh server; without them it says what is missing.
rehearsal: install  ## a fleet's days on pretended machines, half an hour
	$(BIN)/python -m tests.rehearsal

# Small disks that fill up need root; clocks that jump need libfaketime. What is missing is passed over by name.
faults: install  ## 200 faults struck at studies, an hour on two cores; ARGUMENTS="--seed 1 --only kill"
	$(BIN)/python -m tests.faults $(ARGUMENTS)

mutants: install  ## mistakes planted in the code, which the tests must notice
	$(PIP) mutmut==3.8.1
	$(BIN)/python -m tests.mutants $(ARGUMENTS)

# About three hours on two cores, idle otherwise; takes what batchscope is measured against into the same environment.
bench: install  ## all benchmarks, about three hours
	$(PIP) --requirement tests/benchmarks/requirements.txt
	$(BIN)/python -m tests.benchmarks.suite

clean:  ## remove the environment and what tools left
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .import_linter_cache *.egg-info
