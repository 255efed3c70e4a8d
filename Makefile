# Two commands do everything on a fresh machine: make run, make test.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
NEURON := https://pip.repos.neuron.amazonaws.com
# Without byte code on disk each of the suite's many processes would compile the sources anew.
unexport PYTHONDONTWRITEBYTECODE
CHILDREN := filelock numpy omegaconf psutil pydantic safetensors scipy

.DEFAULT_GOAL := help
.PHONY: help setup run test test-core test-neuron-pins check schema inf1 inf2 matrix drills scale peer duty overhead first-hour nightly nightly-drill clean

help: ## list the targets
	@grep -E '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "%-16s %s\n", $$1, $$2}'

setup: $(READY) ## make the environment (.venv) from pyproject.toml and constraints.txt

$(READY): pyproject.toml constraints.txt
	@echo "making $(VENV): some minutes, 2.6 GB of libraries"
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet -c constraints.txt -e '.[onnxruntime,openvino,llm,diffusion,accuracy,real,report,dev]'
	touch $@

run: $(READY) ## the main job: a grid of small real models on this CPU (repeated: nothing runs twice)
	$(BIN)/python -m benchmark experiment=demo

TESTS := $(BIN)/python -m pytest -q --durations 30
ON_TWO := $(TESTS) -n 2 --dist loadscope --no-loadscope-reorder

# passive: two suites at a time would spin on each other's cores
test: $(READY) ## every test, those with real models and compilers too
	$(ON_TWO) -m "not real and not benchmarks"
	OMP_WAIT_POLICY=passive $(ON_TWO) -m "real and not alone"
	$(TESTS) -m alone

test-core: $(READY) ## the core suite: no torch, no whole commands, one and a half to two minutes
	$(ON_TWO) -m "not real and not chaos and not commands and not benchmarks"

test-neuron-pins: ## core and contract suites with the transformers that Neuron environments have, in .venv-pins
	test -x .venv-pins/bin/python || $(PYTHON) -m venv .venv-pins
	sed 's/^transformers==.*/transformers==4.57.6/; s/^diffusers==.*/diffusers==0.35.2/' constraints.txt > .venv-pins/constraints.txt
	.venv-pins/bin/pip install --quiet -c .venv-pins/constraints.txt -e '.[onnxruntime,openvino,llm,diffusion,accuracy,real,report,dev]'
	.venv-pins/bin/python -m pytest -q -n 2 --dist loadscope -m "not real and not benchmarks"
	.venv-pins/bin/python -m pytest -q -n 2 --dist loadscope -m real tests/contracts

inf1: ## .venv-inf1: what children on inf1 stand on; PYTHON=python3.9 or 3.10; archived by AWS
	$(PYTHON) -m venv .venv-inf1
	.venv-inf1/bin/pip install --quiet --extra-index-url $(NEURON) torch-neuron==1.13.1.2.11.13.0 \
	  'neuron-cc[tensorflow]==1.24.0.0' 'protobuf<4' 'numpy<2' transformers==4.36.2 $(CHILDREN) eval-type-backport

inf2: ## .venv-inf2: what children on inf2, trn1 and trn2 stand on; PYTHON=python3.12, 3.11 or 3.13
	$(PYTHON) -m venv .venv-inf2
	.venv-inf2/bin/pip install --quiet --extra-index-url $(NEURON) torch-neuronx==2.9.0.2.15.32035 \
	  neuronx-cc==2.27.5334.0 transformers==4.57.6 diffusers==0.35.2 accelerate $(CHILDREN)

check: $(READY) ## format, lint, types, import contracts, YAML
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/yamllint -s conf

schema: $(READY) ## write benchmark/store/schema.md from schema.py
	$(BIN)/python -c 'from benchmark.store import schema_page; print(schema_page.markdown(), end="")' > benchmark/store/schema.md

matrix: $(READY) ## what works: every model under every compiler of this CPU, as a table; an hour or two
	-$(BIN)/python -m benchmark experiment=matrix_tiny
	for model in $$($(BIN)/python -m benchmark plan experiment=matrix compiler=eager --json | sed -n 's/^{"model": "\([^"]*\)".*/\1/p'); do \
	  $(BIN)/python -m benchmark experiment=matrix model=$$model; $(BIN)/python -m benchmark cache gc --limit-gb 20; done
	$(BIN)/python -m benchmark matrix campaign=matrix,matrix_tiny --md

drills: $(READY) ## random experiments, two commands at once, kills, hostile children, flipped bits, a crowd: half an hour
	$(BIN)/python tests/grids/random_experiments.py --times 200
	$(BIN)/python tests/benchmarks/two_commands.py
	$(BIN)/python -m tests.chaos.kill_parent --times 50
	for drill in kill_command kill_server kill_locks hostile many_cells; do $(BIN)/python -m tests.chaos.$$drill || exit 1; done
	$(BIN)/python -m tests.chaos.bit_flips --times 2000
	$(BIN)/python -m tests.chaos.crowd

scale: $(READY) ## what grids of 100 to 100,000 cells cost, and a store of a million rows: half an hour
	$(BIN)/python tests/benchmarks/scale.py --store-rows 1000000

peer: $(READY) ## the same tiny-BERT grid by optimum-benchmark, in an environment of its own
	$(BIN)/python tests/benchmarks/against_peer.py

duty: $(READY) ## share of a grid's wall time in which its models are called
	$(BIN)/python tests/benchmarks/duty.py

overhead: $(READY) ## what the program costs per cell, and its timing against a hand-written loop
	$(BIN)/python -m pytest -q -s -m benchmarks

first-hour: $(READY) ## the first look at a machine, ten minutes, and an archive of it (HARDWARE=cuda ARGS='hardware.python=…')
	$(BIN)/python -m benchmark.cli.first_hour --hardware $(or $(HARDWARE),cpu) $(ARGS)

nightly: $(READY) ## the nightly grid and its check, into outputs/nightly-DATE/report (HARDWARE= EXPERIMENT= ACCEPTED_PYTHON=)
	PYTHON=$(BIN)/python sh benchmark/recipes/nightly.sh

nightly-drill: $(READY) ## a month of simulated nights with a planted slow-down: found, confirmed, drawn; a minute and a half
	$(BIN)/python tests/benchmarks/nightly_history.py --out outputs/nightly-drill

clean: ## remove results and cached artefacts, keep the environment
	find outputs compile_cache -mindepth 1 -not -name README.md -delete
