# make demo   plays one synthetic patient through every door
# make test   makes the environment if needed and runs every test the machine allows
# make help   the rest

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip install -q --disable-pip-version-check -c constraints.txt
ARGS ?=
REQUIRE_PEERS ?=
CYCLES ?= 1000
# Two processes of tests, each with private peers of its own.
WORKERS ?= 2

.PHONY: help demo test soak coverage lint format bench train doctor clean check-machine

help:
	@echo "make demo  [ARGS='--once --report FILE']   one synthetic patient, every door"
	@echo "make test  [REQUIRE_PEERS=1] [ARGS=...]    every test; peers that are missing are named"
	@echo "make coverage                              the tests, and which lines and branches none reached"
	@echo "make soak  [CYCLES=1000]                   the service killed under load, so many times"
	@echo "make lint                                  ruff, mypy --strict, import-linter, compose"
	@echo "make bench [ARGS=NAME]                     us and the peers side by side"
	@echo "make train                                 the liver_dx pack from nothing (about an hour)"

# The first line printed says which Debian package is missing.
check-machine:
	@command -v $(PYTHON) >/dev/null || { echo "missing: install the Debian package python3"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "missing: Python 3.11 or newer (Debian package python3)"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
	  || { echo "missing: install the Debian package python3-venv"; exit 1; }

$(BIN)/python: | check-machine
	@$(PYTHON) -m venv $(VENV)

# The service needs no torch; only its own extra.
$(VENV)/.cpu: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing the service (extra cpu) from constraints.txt"
	@$(PIP) -e '.[cpu]'
	@touch $@

# torch first and by its version: another package's plain `torch` takes gigabytes of CUDA.
$(VENV)/.test: $(VENV)/.cpu
	@echo "installing what the tests need (extras train and test)"
	@$(PIP) "$$(grep '^torch==' constraints.txt)"
	@$(PIP) -e '.[cpu,train,test]'
	@touch $@

demo: $(VENV)/.cpu
	@$(BIN)/oncord demo $(ARGS)

doctor: $(VENV)/.cpu
	@$(BIN)/oncord doctor

test: $(VENV)/.test
	@REQUIRE_PEERS=$(REQUIRE_PEERS) $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(ARGS)

coverage: $(VENV)/.test
	@$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal --cov --cov-report=term:skip-covered $(ARGS)

soak: $(VENV)/.test
	@$(BIN)/python -m pytest tests/faults/test_kill_loop.py --kill-cycles=$(CYCLES)

lint: $(VENV)/.test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	@if command -v docker-compose >/dev/null; then \
	  ONCORD_SECRET=x ONCORD_API_TOKENS=x POSTGRES_PASSWORD=x RABBITMQ_PASSWORD=x \
	  docker-compose -f compose.yaml config -q && echo "compose.yaml is sound"; \
	else echo "compose.yaml not checked: Debian package docker-compose is missing"; fi

format: $(VENV)/.test
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/.test
	@$(BIN)/python -m tests.bench $(ARGS)

train: $(VENV)/.test
	@$(BIN)/oncord train liver_dx --out inference/packs/liver_dx $(ARGS)

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache
