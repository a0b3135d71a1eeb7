# The verbs of the project; `make` alone lists them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PORT ?= 8000
export PORT

.DEFAULT_GOAL := help
.PHONY: help run up test coverage lint fix bench storm install install-dev lock system-packages

help: ## List these verbs
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

run: install ## Start everything and run pipeline `quickstart`: make run TASK="Build a todo app"
	@test -n "$(TASK)" || { echo 'Say what to do: make run TASK="Build a REST API for a todo app"'; exit 2; }
	@$(BIN)/djinnbot up --task "$$TASK"
run: export TASK := $(TASK)

up: install ## Start the platform alone
	@$(BIN)/djinnbot up

install: $(VENV)/.installed ## Create the virtual environment and install what is needed

install-dev: $(VENV)/.installed-dev ## The same with what the tests need

$(VENV)/.installed: requirements.lock requirements-nodeps.txt setup.cfg | $(VENV)
	@$(call install,requirements.lock)
	@touch $@

$(VENV)/.installed-dev: requirements-dev.lock $(VENV)/.installed
	@$(call install,requirements-dev.lock)
	@touch $@

$(VENV):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Python 3.11 or newer is needed, this is `$(PYTHON) -V 2>&1`. Name another one: make PYTHON=python3.12 ..."; exit 10; }
	@$(PYTHON) -m venv $(VENV) \
	  || { rm -rf $(VENV); echo "The virtual environment could not be made. On Debian: apt-get install python3-venv"; exit 11; }

# The locks are complete, so nothing is resolved; each file is checked against its hash.
define install
echo "Installing (once, about a minute) ..."; \
$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --no-compile --require-hashes -r $(1) -r requirements-nodeps.txt \
  && $(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e . \
  || { echo "A package could not be installed; pip says why above. Check the disk and the network, then try again."; exit 12; }
endef

lock: ## Pin the newest versions that setup.cfg allows
	@$(BIN)/python -m piptools compile -q --strip-extras --generate-hashes --allow-unsafe --no-header --no-emit-index-url --no-emit-trusted-host --no-emit-find-links \
	  --extra local --extra postgres -o requirements.lock setup.cfg requirements.in
	@$(BIN)/python -m piptools compile -q --strip-extras --generate-hashes --allow-unsafe --no-header --no-emit-index-url --no-emit-trusted-host --no-emit-find-links \
	  --extra local --extra postgres --extra dev -o requirements-dev.lock -c requirements.lock setup.cfg requirements.in

test: install-dev system-packages tests/npm/node_modules ## Install what the tests need and pass them
	@$(BIN)/python -m pytest -n 2 --dist loadfile --ignore tests/storm
	@$(BIN)/python -m pytest -n 2 --dist loadfile tests/storm

coverage: install-dev system-packages tests/npm/node_modules ## Pass the tests but the storms, and say what they cover
	@$(BIN)/python -m pytest -n 2 --dist loadfile --ignore tests/storm --cov --cov-report=term:skip-covered

SYSTEM_PACKAGES = $(shell command -v bwrap >/dev/null || echo bubblewrap) \
  $(shell command -v redis-server >/dev/null || echo redis-server) \
  $(if $(wildcard /usr/lib/postgresql/*/bin/initdb),,postgresql) \
  $(shell command -v npm >/dev/null || echo npm) \
  $(if $(wildcard /usr/lib/*/faketime/libfaketimeMT.so.1),,libfaketime)

# Recorded webhooks, and MCP servers that are written for node; each file is checked against its hash.
tests/npm/node_modules: tests/npm/package-lock.json
	@npm ci --prefix tests/npm --ignore-scripts --no-audit --no-fund --loglevel=error >/dev/null \
	  || { echo "npm could not install three packages of the tests; it says why above. It must be that of node 20 or newer."; exit 14; }
	@touch $@

system-packages:
	@set -- $(SYSTEM_PACKAGES); [ $$# -eq 0 ] && exit 0; \
	as_root=""; [ "$$(id -u)" = 0 ] || as_root="sudo -n"; \
	echo "Installing $$*"; \
	{ $$as_root apt-get update -qq && $$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $$*; } >/dev/null 2>&1 \
	  || { echo "The tests need these programs: $$*. As root: apt-get install $$*"; exit 13; }

lint: install-dev ## Check style and dependencies
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .
	@audit=$$($(BIN)/pip-audit --require-hashes --disable-pip --progress-spinner off -r requirements.lock 2>&1) \
	  && echo "No known vulnerability in requirements.lock" || { echo "$$audit"; exit 1; }

fix: install-dev ## Put style right
	@$(BIN)/ruff check --fix . ; $(BIN)/ruff format .

bench: install-dev ## Print every published figure
	@$(BIN)/python -m bench

storm: install-dev system-packages ## Inject faults at full size
	@$(BIN)/python -m pytest tests/storm --full
