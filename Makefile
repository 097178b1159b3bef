# The two commands a newcomer needs are `make demo` and `make test`; everything else builds on `make install`.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# What is installed is stamped with the lock it came from, so that a changed lock installs again.
STAMP := $(VENV)/.installed

.PHONY: install demo lint check test bench clean

install: $(STAMP)

$(STAMP): requirements.lock pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $(STAMP)

demo: install
	$(BIN)/batchscope demo

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

check: install
	$(BIN)/pytest -m "not ray and not tf and not slow"

# Two processes share the files of tests, in their order, as the longest are not among the last. What starts a Ray comes
# alone: beside other work its workers, which have a low priority, take minutes for seconds.
test: install
	$(BIN)/pytest -m "not ray" --numprocesses 2 --dist loadfile --no-loadscope-reorder
	$(BIN)/pytest -m ray

# About three hours on two cores, idle otherwise; takes what batchscope is measured against into the same environment.
bench: install
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement tests/benchmarks/requirements.txt
	$(BIN)/python -m tests.benchmarks.suite

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .import_linter_cache *.egg-info
