# Everything that a person or CI does with this project. `make` lists it.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SERVICES := broker pathwatch dbwatch dispatcher reactor

.DEFAULT_GOAL := help
.PHONY: help run-all test test-unit test-contract test-integration test-system test-databases wheel \
	chaos lint fmt bench bench-peers \
	docs tail ps servers clean upgrade $(SERVICES:%=restart-%)

help: ## list the targets
	@grep -hE '^[a-z%-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' \
	  | awk -F'\t' '{ sub("%", "SERVICE", $$1); printf "  make %-18s %s\n", $$1, $$2 }'

$(VENV)/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "tenantbus needs Python 3.11 or newer; name one with: make PYTHON=python3.11"; exit 1; }
	@test -x $(BIN)/pip || $(PYTHON) -m venv --clear $(VENV) >/dev/null 2>&1 \
	  || { scripts/install-servers python3-venv && $(PYTHON) -m venv --clear $(VENV); }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

run-all: $(VENV)/installed ## set up everything, start it, print what to try, show events; Ctrl-C stops it all
	@$(BIN)/python -m examples.demo

test: $(VENV)/installed servers ## all tests, and the wheel in an empty environment
	@$(BIN)/python -m pytest -q tests/unit tests/contract tests/integration tests/system

test-unit: $(VENV)/installed ## pure and fast
	@$(BIN)/python -m pytest -q tests/unit

test-contract: $(VENV)/installed ## one suite over every implementation of an interface
	@$(BIN)/python -m pytest -q tests/contract

test-integration: $(VENV)/installed servers ## one service with real sockets, files, databases
	@$(BIN)/python -m pytest -q tests/integration

test-system: $(VENV)/installed servers ## everything together
	@$(BIN)/python -m pytest -q tests/system

chaos: $(VENV)/installed ## kill everything in any order under load, CHAOS_SECONDS (120) long
	@$(BIN)/python -m pytest -q -s tests/chaos

lint: $(VENV)/installed ## format, style, types, architecture, spelling, generated docs
	@$(BIN)/ruff format --no-cache --check --quiet . || { echo "run: make fmt"; exit 1; }
	@$(BIN)/ruff check --no-cache --quiet .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache >/tmp/lint-imports.$$$$ 2>&1 || { cat /tmp/lint-imports.$$$$; rm /tmp/lint-imports.$$$$; exit 1; }; rm -f /tmp/lint-imports.$$$$
	@$(BIN)/codespell
	@$(BIN)/python -m docs.generate --check

fmt: $(VENV)/installed ## format the code
	@$(BIN)/ruff format --quiet .
	@$(BIN)/ruff check --no-cache --fix --quiet . || true

bench: $(VENV)/installed servers ## measure; prints a table
	@$(BIN)/python -m tests.bench

bench-peers: $(VENV)/installed ## measure beside other managers, which it fetches into a temporary directory (6 minutes)
	@$(BIN)/python -m tests.bench.peers

docs: $(VENV)/installed ## write the generated references
	@$(BIN)/python -m docs.generate

test-databases: $(VENV)/installed servers ## what databases do for minutes: flap, find room again
	@$(BIN)/python -m pytest -q tests/databases

wheel: $(VENV)/installed ## build the wheel into dist/
	@$(BIN)/python -m build --no-isolation --wheel --outdir dist

tail: $(VENV)/installed ## show events as they come
	@$(BIN)/bus tail

ps: $(VENV)/installed ## show the tenants
	@$(BIN)/bus ps

restart-%: ## restart one service: broker, pathwatch, dbwatch, dispatcher or reactor
$(SERVICES:%=restart-%): restart-%: $(VENV)/installed
	@$(BIN)/bus service restart $*

servers: ## install the real servers that tests use (Debian packages; needs root)
	@scripts/install-servers mariadb-server galera-4 rsync iproute2 nftables nginx-light wrk systemd

upgrade: $(VENV)/installed ## renew constraints.txt
	$(BIN)/python -m pip install --quiet --upgrade --upgrade-strategy eager --editable '.[dev]'
	{ echo '# What the project is built and tested with; `make upgrade` renews it.'; \
	  $(BIN)/python -m pip freeze --exclude-editable; } > constraints.txt

clean: ## remove what was built; tenants and their data in var/ stay
	rm -rf $(VENV) dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
