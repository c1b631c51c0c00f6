# Two commands: `make chat` sets up and opens the chat, `make test` sets up and runs every check.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help setup chat test test-reference lint types demo bench clean

help: ## Show the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 24

setup: $(VENV)/.ready ## Make the virtual environment (compiles llama.cpp once, about 6 minutes)

chat: $(VENV)/.chat-ready ## Set up, then open the chat on the bundled demo model
	@$(BIN)/tui run demo

# The tests start hundreds of processes, each of which would compile the program where bytecode is off.
test: lint types ## Set up, then run the linter, the type checker and every test
	PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -m "not reference" -n auto --maxprocesses 8 --dist worksteal $(PYTEST_ARGS)

lint: $(VENV)/.ready
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(VENV)/.ready
	$(BIN)/mypy

test-reference: $(VENV)/.reference-ready ## Recompute the stored references with torch and PEFT
	$(BIN)/python -m pytest -m reference $(PYTEST_ARGS)

demo: $(VENV)/.reference-ready ## Train the demo model and its adapters anew into build/demo (under an hour)
	$(BIN)/python -m modelfiles.demo.recipe --out build/demo

# With LLAMA_CPP=FOLDER, a folder of its source, llama.cpp's converter is measured beside ours.
bench: $(VENV)/$(if $(LLAMA_CPP),.bench-ready,.ready) ## Measure what adapters cost (about 10 minutes; JSON=FILE keeps figures)
	$(BIN)/python -m tests.benchmarks $(if $(JSON),--json "$(JSON)") $(if $(LLAMA_CPP),--llama-cpp "$(LLAMA_CPP)") $(BENCH_ARGS)

clean: ## Remove the virtual environment and caches
	rm -rf $(VENV) build .mypy_cache .ruff_cache .pytest_cache .hypothesis

# llama-cpp-python has no ready-made package for every machine and compiles llama.cpp.
.PHONY: compiler
compiler:
	@command -v $${CXX:-c++} >/dev/null 2>&1 || command -v g++ >/dev/null 2>&1 || \
	command -v clang++ >/dev/null 2>&1 || { \
	  echo "A C++ compiler is needed to build llama.cpp, and none was found. Install one:" >&2; \
	  echo "  Debian, Ubuntu:  sudo apt-get install g++ make" >&2; \
	  echo "  Fedora:          sudo dnf install gcc-c++ make" >&2; \
	  echo "  Arch:            sudo pacman -S gcc make" >&2; \
	  echo "  macOS:           xcode-select --install" >&2; \
	  exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Python 3.11 or later is needed; $(PYTHON) is older. Try: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; \
	  exit 1; }

$(VENV)/bin/python: | compiler
	$(PYTHON) -m venv $(VENV)

$(VENV)/.chat-ready: pyproject.toml | $(VENV)/bin/python
	@echo "Setting up in $(VENV); compiling llama.cpp takes some minutes the first time." >&2
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	@touch $@

$(VENV)/.ready: pyproject.toml | $(VENV)/.chat-ready
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

$(VENV)/.reference-ready: pyproject.toml | $(VENV)/.ready
	$(BIN)/python -m pip install --quiet --disable-pip-version-check torch==2.13.0
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev,peft]'
	@touch $@

$(VENV)/.bench-ready: pyproject.toml | $(VENV)/.ready
	$(BIN)/python -m pip install --quiet --disable-pip-version-check torch==2.13.0
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev,bench]'
	@touch $@
