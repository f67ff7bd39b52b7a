# Everything this project does, on a machine with Python 3.11 or newer, pip and make. `make help` lists it.

SHELL := /bin/sh
.DEFAULT_GOAL := help

VENV ?= .venv
BIN := $(VENV)/bin
PYTHONS := $(if $(PYTHON),$(PYTHON),python3.13 python3.12 python3.11 python3.14 python3 python)
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
UV_VERSION := 0.13.9

# A stamp says which lock file the environment holds. A test environment is a run environment too.
RUN_STAMP := $(VENV)/.run.stamp
TEST_STAMP := $(VENV)/.test.stamp
BENCH_STAMP := $(VENV)-bench/.bench.stamp

# An environment whose interpreter is gone, or that was made at another path, is made afresh.
$(shell [ -x $(BIN)/python ] && [ "$$(cat $(VENV)/.made-at 2>/dev/null)" = "$(CURDIR)" ] || rm -f $(RUN_STAMP) $(TEST_STAMP))

.PHONY: help
help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{printf "%-25s%s\n", $$1, $$2}'
	@echo "ARGS='...' is handed on to run, test, bench and coverage: make run ARGS='--config kortex.yaml'"

.PHONY: run
run: $(RUN_STAMP) ## start the gateway on http://127.0.0.1:8080
	@exec $(BIN)/kortex run $(ARGS)

.PHONY: test
test: $(TEST_STAMP) ## run every test
	$(BIN)/python -m pytest -n $(TEST_WORKERS) --dist loadfile --ignore=tests/bench tests $(ARGS)

.PHONY: test-failed
test-failed: $(TEST_STAMP) ## run those again, one by one, that failed in the last `make test`
	$(BIN)/python -m pytest --last-failed --last-failed-no-failures none --ignore=tests/bench tests $(ARGS)

# Two at least, so that tests that only pass alone are found out; four at most: each may own an Envoy.
TEST_WORKERS ?= $(shell n=$$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2); [ $$n -lt 2 ] && n=2; [ $$n -gt 4 ] && n=4; echo $$n)

.PHONY: check
check: $(TEST_STAMP) ## lint, format, types and import contracts
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

.PHONY: coverage
coverage: $(TEST_STAMP) ## run the tests and list the branches that none of them takes
	$(BIN)/python -m pytest -n $(TEST_WORKERS) --dist loadfile --ignore=tests/bench --cov --cov-report=term-missing tests $(ARGS)

.PHONY: golden
golden: $(TEST_STAMP) ## rewrite the golden files from what the code does now; review the diff
	$(BIN)/python -m pytest --update-golden --ignore=tests/bench tests $(ARGS)

.PHONY: bench
bench: $(TEST_STAMP) ## measure Envoy alone against Envoy with Kortex
	$(BIN)/python -m tests.bench $(ARGS)

.PHONY: bench-translation
bench-translation: $(BENCH_STAMP) ## measure each dialect beside LiteLLM's own translation
	$(VENV)-bench/bin/python -m tests.bench.translation $(ARGS)

.PHONY: bench-routing
bench-routing: $(TEST_STAMP) ## measure how long a large config takes to compile, and a call to be decided
	$(BIN)/python -m tests.bench.routing $(ARGS)

.PHONY: bench-quota
bench-quota: $(TEST_STAMP) ## measure what limits and budgets add to a request, by the store that counts them
	$(BIN)/python -m tests.bench.quota $(ARGS)

.PHONY: protos
protos: $(TEST_STAMP) ## compile protos/ into extproc/pb
	$(BIN)/python -m grpc_tools.protoc --proto_path=protos --python_out=extproc/pb --pyi_out=extproc/pb protos/*.proto

# Everything is resolved first and the runtime after it, held to the same versions, so that one environment can hold both.
# The pins in place are kept where they still fit; UPGRADE=1 takes the newest.
# Extras stay in the pins: without them pip before 23.3 looks for the newest `coverage[toml]` and stops at its missing hash.
.PHONY: lock
lock: ## resolve pyproject.toml into the two lock files (UPGRADE=1: to the newest versions)
	@$(find_python); "$$python" -m venv $(VENV)-lock
	$(VENV)-lock/bin/python -m pip --disable-pip-version-check --quiet install uv==$(UV_VERSION)
	$(UV_COMPILE) --group build --group dev --output-file requirements-dev.lock
	$(UV_COMPILE) --group build --constraint requirements-dev.lock --output-file requirements.lock
	$(UV_COMPILE) --group bench --output-file requirements-bench.lock

UV_COMPILE = $(VENV)-lock/bin/uv --quiet pip compile pyproject.toml --universal --generate-hashes --no-strip-extras \
	--custom-compile-command 'make lock' $(if $(UPGRADE),--upgrade)

.PHONY: clean
clean: ## remove the environments, caches and builds
	rm -rf $(VENV) $(VENV)-lock $(VENV)-bench build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .coverage
	find extproc tests -name __pycache__ -type d -prune -exec rm -rf {} +

# The project itself is installed in place and last: its build backend comes from the lock file like everything else.
# It is compiled as the packages are, for where PYTHONDONTWRITEBYTECODE would have each start do it, in every process.
$(RUN_STAMP): requirements.lock pyproject.toml
	@$(make_venv)
	@echo "installing requirements.lock into $(VENV)"
	@$(PIP) install --require-hashes --requirement requirements.lock
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@$(BIN)/python -m compileall -q extproc
	@touch $@

$(TEST_STAMP): requirements-dev.lock pyproject.toml
	@$(make_venv)
	@echo "installing requirements-dev.lock into $(VENV)"
	@$(PIP) install --require-hashes --requirement requirements-dev.lock
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@$(BIN)/python -m compileall -q extproc
	@touch $(RUN_STAMP) $@

# An environment of its own: LiteLLM and what it needs have no place beside the tests.
$(BENCH_STAMP): requirements-bench.lock
	@$(find_python); "$$python" -m venv --clear $(VENV)-bench
	@echo "installing requirements-bench.lock into $(VENV)-bench"
	@$(VENV)-bench/bin/python -m pip --disable-pip-version-check --quiet install --require-hashes --requirement requirements-bench.lock
	@touch $@

# Sets the shell variable `python` to the first interpreter that is new enough and can make environments.
define find_python
for python in $(PYTHONS) ''; do \
  [ -n "$$python" ] || { echo "make: none of these is a Python 3.11 or newer with the venv module: $(PYTHONS)" >&2; \
    echo "make: install one, or name it: make PYTHON=/path/to/python3.12" >&2; exit 1; }; \
  "$$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && break; \
done
endef

define make_venv
[ -x $(BIN)/python ] && [ "$$(cat $(VENV)/.made-at 2>/dev/null)" = "$(CURDIR)" ] || { \
  $(find_python); \
  "$$python" -m venv --clear $(VENV) && echo "$(CURDIR)" > $(VENV)/.made-at; }
endef
