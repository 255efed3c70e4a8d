# Two commands do everything on a fresh machine: make run, make test.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help setup run test test-core check schema matrix drills scale peer duty overhead clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "%-12s %s\n", $$1, $$2}'

setup: $(READY) ## make the environment (.venv) from pyproject.toml and constraints.txt

$(READY): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet -c constraints.txt -e '.[onnxruntime,openvino,diffusion,real,dev]'
	touch $@

run: $(READY) ## the main job: a grid of small real models on this CPU (repeated: nothing runs twice)
	$(BIN)/python -m benchmark experiment=demo

test: $(READY) ## every test, those with real models and compilers too
	$(BIN)/python -m pytest -q -n 2 --dist loadfile -m "not real and not benchmarks"
	$(BIN)/python -m pytest -q -n 2 --dist loadfile -m "real and not alone"
	$(BIN)/python -m pytest -q -m alone

test-core: $(READY) ## the core suite: no torch, seconds
	$(BIN)/python -m pytest -q -n 2 --dist loadfile -m "not real and not chaos and not benchmarks"

check: $(READY) ## format, lint, types, import contracts, YAML
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/yamllint -s conf

schema: $(READY) ## write benchmark/schema.md from schema.py
	$(BIN)/python -c 'from benchmark import schema_page; print(schema_page.markdown(), end="")' > benchmark/schema.md

matrix: $(READY) ## what works: every model under every compiler of this CPU, as a table; an hour or two
	-$(BIN)/python -m benchmark experiment=matrix_tiny
	-$(BIN)/python -m benchmark experiment=matrix
	$(BIN)/python -m benchmark matrix campaign=matrix,matrix_tiny --md

drills: $(READY) ## 200 random experiments, two commands at once, 50 kills: minutes
	$(BIN)/python tests/grids/random_experiments.py --times 200
	$(BIN)/python tests/benchmarks/two_commands.py
	$(BIN)/python tests/chaos/kill_parent.py --times 50

scale: $(READY) ## what grids of 100 to 100,000 cells cost, and a store of a million rows: half an hour
	$(BIN)/python tests/benchmarks/scale.py --store-rows 1000000

peer: $(READY) ## the same tiny-BERT grid by optimum-benchmark, in an environment of its own
	$(BIN)/python tests/benchmarks/against_peer.py

duty: $(READY) ## share of a grid's wall time in which its models are called
	$(BIN)/python tests/benchmarks/duty.py

overhead: $(READY) ## what the program costs per cell, and its timing against a hand-written loop
	$(BIN)/python -m pytest -q -s -m benchmarks

clean: ## remove results and cached artefacts, keep the environment
	find outputs compile_cache -mindepth 1 -not -name README.md -delete
