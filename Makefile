# Two commands: `make chat` sets up and opens the chat, `make test` sets up and runs every check.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help setup chat test test-reference lint types demo bench wheels clean

help: ## Show the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 24

setup: $(VENV)/.ready ## Make the virtual environment (may compile llama.cpp once, about 6 minutes)

chat: $(VENV)/.chat-ready ## Set up, then open the chat on the bundled demo model
	@$(BIN)/tui run demo

# The tests start hundreds of processes, each of which would compile the program where bytecode is off.
test: lint types ## Set up, then run the linter, the type checker and every test
	PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -m "not reference" -n auto --maxprocesses 8 --dist worksteal $(PYTEST_ARGS)

lint: $(VENV)/.ready
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports

types: $(VENV)/.ready
	$(BIN)/mypy

test-reference: $(VENV)/.reference-ready ## Recompute the stored references with torch and PEFT
	$(BIN)/python -m pytest -m reference $(PYTEST_ARGS)

demo: $(VENV)/.reference-ready ## Train the demo model and its adapters anew into build/demo (under an hour)
	$(BIN)/python -m tests.demo_recipe --out build/demo

# With LLAMA_CPP=FOLDER, a folder of its source, llama.cpp's converter is measured beside ours.
bench: $(VENV)/$(if $(LLAMA_CPP),.bench-ready,.ready) ## Measure what adapters cost (about 10 minutes; JSON=FILE keeps figures)
	$(BIN)/python -m tests.benchmarks $(if $(JSON),--json "$(JSON)") $(if $(LLAMA_CPP),--llama-cpp "$(LLAMA_CPP)") $(BENCH_ARGS)

clean: ## Remove the virtual environment and caches
	rm -rf $(VENV) build .import_linter_cache .mypy_cache .ruff_cache .pytest_cache .hypothesis

# llama-cpp-python is taken ready-made where pip finds a package that fits (PIP_EXTRA_INDEX_URL and
# PIP_FIND_LINKS say where else to look). Elsewhere llama.cpp is compiled, which needs a compiler, and
# so it is wherever CMAKE_ARGS says what to build it for: then without pip's cache, which forgets what
# a package was built for.
PIP := $(BIN)/python -m pip --disable-pip-version-check
PYPROJECT := import tomllib; known = tomllib.load(open("pyproject.toml", "rb"));
LLAMA = "$$($(BIN)/python -c '$(PYPROJECT) \
  print(*(r for r in known["project"]["dependencies"] if r.startswith("llama-cpp-python")))')"
BUILD_TOOLS = $$($(BIN)/python -c '$(PYPROJECT) print(*known["build-system"]["requires"])')
READY_MADE := --only-binary llama-cpp-python
COMPILED := --no-binary llama-cpp-python --no-cache-dir --no-deps
NEED_COMPILER := { \
  command -v $${CXX:-c++} >/dev/null 2>&1 || command -v g++ >/dev/null 2>&1 || \
  command -v clang++ >/dev/null 2>&1 || { \
    echo "pip finds no ready-made package of llama-cpp-python for this machine, and there is no C++" >&2; \
    echo "compiler to build llama.cpp with. Install one:" >&2; \
    echo "  Debian, Ubuntu:  sudo apt-get install g++ make" >&2; \
    echo "  Fedora:          sudo dnf install gcc-c++ make" >&2; \
    echo "  Arch:            sudo pacman -S gcc make" >&2; \
    echo "  macOS:           xcode-select --install" >&2; \
    echo "or say where a package is, with PIP_EXTRA_INDEX_URL or PIP_FIND_LINKS: see" >&2; \
    echo "tui/manual/gpus.md." >&2; \
    exit 1; }; \
  echo "Compiling llama.cpp, which takes some minutes the first time." >&2; }

wheels: | $(VENV)/bin/python ## Build DIR=FOLDER, from which a machine without compiler and network installs
	@test -n "$(DIR)" || { echo "Name the folder: make wheels DIR=FOLDER" >&2; exit 2; }
ifneq ($(strip $(CMAKE_ARGS)),)
	@$(NEED_COMPILER)
	@$(PIP) wheel --quiet $(COMPILED) --wheel-dir "$(DIR)" $(LLAMA)
else
	@$(PIP) wheel --quiet $(READY_MADE) --no-deps --wheel-dir "$(DIR)" $(LLAMA) 2>/dev/null || { \
	  $(NEED_COMPILER); $(PIP) wheel --quiet --no-deps --wheel-dir "$(DIR)" $(LLAMA); }
endif
	@rm -rf build/lib  # where setuptools keeps files that are gone from the source, and packs them
	@$(PIP) wheel --quiet $(READY_MADE) --find-links "$(DIR)" --wheel-dir "$(DIR)" . $(BUILD_TOOLS)
	@echo "To install from it: pip install --no-index --find-links \"$(DIR)\" lora-tui"

.PHONY: python
python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Python 3.11 or later is needed; $(PYTHON) is older. Try: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; \
	  exit 1; }

$(VENV)/bin/python: | python
	$(PYTHON) -m venv $(VENV)

# With other CMAKE_ARGS than it was built with, llama.cpp is built anew.
ifneq ($(strip $(CMAKE_ARGS)),)
ifneq ($(strip $(CMAKE_ARGS)),$(shell cat "$(VENV)/.cmake-args" 2>/dev/null))
.PHONY: $(VENV)/.llama-ready
endif
endif

$(VENV)/.llama-ready: pyproject.toml | $(VENV)/bin/python
ifneq ($(strip $(CMAKE_ARGS)),)
	@$(NEED_COMPILER)
	@$(PIP) install --quiet --force-reinstall $(COMPILED) $(LLAMA)
	@echo '$(strip $(CMAKE_ARGS))' > "$(VENV)/.cmake-args"
else
	@$(PIP) install --quiet $(READY_MADE) $(LLAMA) 2>/dev/null || { \
	  $(NEED_COMPILER); $(PIP) install --quiet $(LLAMA); }
endif
	@touch $@

$(VENV)/.chat-ready: pyproject.toml | $(VENV)/.llama-ready
	@echo "Setting up in $(VENV)." >&2
	$(PIP) install --quiet -e .
	@touch $@

$(VENV)/.ready: pyproject.toml | $(VENV)/.chat-ready
	$(PIP) install --quiet -e '.[dev]'
	@touch $@

$(VENV)/.reference-ready: pyproject.toml | $(VENV)/.ready
	$(PIP) install --quiet torch==2.13.0
	$(PIP) install --quiet -e '.[dev,peft]'
	@touch $@

$(VENV)/.bench-ready: pyproject.toml | $(VENV)/.ready
	$(PIP) install --quiet torch==2.13.0
	$(PIP) install --quiet -e '.[dev,bench]'
	@touch $@
