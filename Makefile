# `make help` lists what there is. Nothing here needs root, except that `make test` installs missing Debian packages
# (Postfix, Dovecot, swaks, curl) when it may; without them it skips the tests that need them and says which.

PYTHON ?= $(shell scripts/find-python)
CONF ?= conf/dev.conf
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check -qq
PYTEST_ARGS ?=
PURE_TESTS := tests/engine tests/golden tests/server tests/tls tests/property tests/fuzz
SECONDS ?= 10
USERS ?= 20
ARGS ?=

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help run install compile test dev peers format lint types layers tests tests-pure test-cluster run-cluster check-conf docs docs-fresh bench loadtest \
	compare scaling profile engine clean

help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(VENV)/.run compile ## Install what is missing, then serve CONF (conf/dev.conf) under honcho
	@scripts/first-mail $(CONF)
	@exec env GSMTP_CONF=$(CONF) $(BIN)/honcho start

install: $(VENV)/.run ## Make .venv and install gsmtp into it

compile: $(VENV)/.compile ## Compile the engine for this machine, where there is a C compiler; GSMTP_PURE=1 leaves it out
	@$(if $(filter-out 0,$(GSMTP_PURE)),,$(BIN)/gsmtp compile --if-possible)

test: dev peers compile lint types layers check-conf docs-fresh engine tests tests-pure ## Everything that CI checks, set-up included

dev: $(VENV)/.dev ## Install the development tools into .venv

peers: ## Install the real mail programs that the interop tests talk to
	@scripts/install-test-packages

format: $(VENV)/.dev ## Lay out the code as CI wants it
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lint: $(VENV)/.dev ## Layout and lint
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(VENV)/.dev ## mypy, strict, over product and tests
	$(BIN)/mypy

layers: $(VENV)/.dev ## Who may import whom (docs/architecture.md)
	@$(BIN)/lint-imports --no-cache > $(VENV)/layers.log || { cat $(VENV)/layers.log; exit 1; }

check-conf: $(VENV)/.run ## Load every configuration in conf/
	$(BIN)/gsmtp check conf/*.conf conf/*.yaml conf/examples/*.conf conf/cluster/*.conf

docs: $(VENV)/.run ## Write docs/options.md and docs/commands.md anew from the declarations
	$(BIN)/gsmtp options --markdown > docs/options.md.new
	mv docs/options.md.new docs/options.md
	$(BIN)/gsmtp console --commands --markdown > docs/commands.md.new
	mv docs/commands.md.new docs/commands.md

docs-fresh: $(VENV)/.run ## docs/options.md and docs/commands.md say what the declarations say
	@$(BIN)/gsmtp options --markdown | diff -u docs/options.md - > $(VENV)/options.diff \
		|| { head -n 20 $(VENV)/options.diff; echo "docs/options.md is stale: run 'make docs'"; exit 1; }
	@$(BIN)/gsmtp console --commands --markdown | diff -u docs/commands.md - > $(VENV)/commands.diff \
		|| { head -n 20 $(VENV)/commands.diff; echo "docs/commands.md is stale: run 'make docs'"; exit 1; }

tests: $(VENV)/.dev ## pytest, a file a process at a time; PYTEST_ARGS='-k name' picks
	$(BIN)/python -m pytest -q -n auto --maxprocesses 4 --dist loadfile $(PYTEST_ARGS)

tests-pure: $(VENV)/.dev ## The engine's tests once more, in pure Python
	GSMTP_PURE=1 $(BIN)/python -m pytest -q -n auto --maxprocesses 4 --dist loadfile $(PURE_TESTS) $(PYTEST_ARGS)

test-cluster: $(VENV)/.dev peers ## Kill nodes of a RabbitMQ cluster while mail flows, in both modes; says what was measured
	$(BIN)/python -m pytest -q -s -m "" tests/cluster $(PYTEST_ARGS)

run-cluster: $(VENV)/.dev ## Three servers, three RabbitMQ nodes, a balancer and a consumer (docs/cluster.md)
	@exec $(BIN)/honcho -f conf/cluster/Procfile -d . start

bench: $(VENV)/.dev peers ## Durable messages a second, beside Postfix (loadtest/README.md)
	$(BIN)/python -m loadtest.compare --rows W2 --servers gsmtp,postfix,postfix-discard --no-docs $(ARGS)

loadtest: $(VENV)/.load ## Load a server of its own and judge it; SECONDS and USERS a scenario, ARGS for more
	$(BIN)/python -m loadtest.run --seconds $(SECONDS) --users $(USERS) $(ARGS)

compare: $(VENV)/.dev peers ## Write docs/performance.md: gsmtp beside other servers on this machine
	$(BIN)/python -m loadtest.compare $(ARGS)

scaling: $(VENV)/.load peers ## Draw how cost grows with sessions, queue, Peers and recipients, under var/scaling
	$(BIN)/python -m loadtest.scaling $(ARGS)

profile: $(VENV)/.dev peers ## Where the server's time goes under load; ARGS='--row W1 --server gsmtp-sink --flame'
	@$(BIN)/python -m loadtest.profiling $(ARGS)

engine: $(VENV)/.run ## Messages a second through the SMTP machine alone; judged by nobody
	@$(BIN)/python -m loadtest.engine_bench --seconds 1

clean: ## Remove what was made, mail and spool under var/ excepted
	rm -rf $(VENV) build dist gsmtp/_compiled* *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find gsmtp tests loadtest -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/bin/python:
	@python="$(PYTHON)"; \
		"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
		|| { echo "gsmtp needs Python 3.11 or newer with its venv module (on Debian: apt-get install python3-venv);" \
			"name one with 'make PYTHON=python3.11 …'"; exit 1; }; \
		echo "Making $(VENV) of $$python …"; \
		"$$python" -m venv $(VENV) || { echo "No venv module here; on Debian: apt-get install python3-venv"; exit 1; }

$(VENV)/.run: requirements.txt setup.py gsmtp/__init__.py | $(VENV)/bin/python
	@echo "Installing gsmtp into $(VENV) …"
	@$(PIP) install -r requirements.txt -e .
	@touch $@

$(VENV)/.compile: requirements-compile.txt $(VENV)/.run
	@echo "Installing the compiler of modules into $(VENV) …"
	@$(PIP) install -r requirements-compile.txt
	@touch $@

$(VENV)/.load: loadtest/requirements.txt requirements.txt $(VENV)/.run
	@echo "Installing the load tools into $(VENV) …"
	@$(PIP) install -r loadtest/requirements.txt
	@touch $@

$(VENV)/.dev: requirements-dev.txt requirements.txt loadtest/requirements.txt $(VENV)/.run
	@echo "Installing the development tools into $(VENV) …"
	@$(PIP) install -r requirements-dev.txt
	@touch $@
