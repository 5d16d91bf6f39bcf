# The developer's commands, and CI's. A fresh machine needs git, make and Python 3.11 to 3.13 with pip and venv.

PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3.13 || command -v python3)
UV_VERSION := 0.13.8
UV := .tools/bin/uv
BIN := .venv/bin

export UV_PYTHON_DOWNLOADS := never
# Each test of a command is a process of its own: compiled once, not in each of them.
export UV_COMPILE_BYTECODE := 1

.PHONY: help setup demo lint docs test elsewhere edge wheels mutations zoo fuzz bench peers arm check clean

help:  ## List the targets.
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/' | expand -t 10

$(UV): Makefile
	$(PYTHON) -m venv .tools
	.tools/bin/pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	@touch $@

setup: $(UV)  ## Install everything into .venv, as uv.lock has it.
	$(UV) sync --quiet --locked --python $(PYTHON)

demo: setup  ## Run the main job on the embedded data, and label new pictures with the bundle.
	$(BIN)/build-and-export --recipe pictures --epochs 4 -o demo/bundle
	$(BIN)/signs verify demo/bundle
	rm -rf demo/hands
	$(BIN)/signs draw demo/hands --count 6 --seed 1
	$(BIN)/signs predict demo/bundle demo/hands

lint: setup  ## Style, types, and the floors of the house.
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

ELSEWHERE := tests/runtime tests/builder/data

# Two at once: a test that trains takes 3 GB. OpenBLAS's threads wait by spinning, which two processes cannot afford.
test: setup  ## Every test; SIGNS_DATA and SIGNS_MODEL add those on real pictures.
	OPENBLAS_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist worksteal --durations 25

elsewhere: setup  ## Tests without what only Linux has: /proc, /sys, functions of os, modules.
	PYTHONPATH=tests/elsewhere OPENBLAS_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist worksteal $(ELSEWHERE)

docs: setup  ## Build the pages in docs/ into site/; any warning is an error.
	$(BIN)/sphinx-build --quiet --fail-on-warning --keep-going --fresh-env docs site

wheels: setup  ## Build both wheels into dist/.
	rm -rf dist
	$(UV) build --quiet --wheel --all-packages --python $(PYTHON) --out-dir dist

edge: wheels  ## The runtime's tests on the built edge wheel, with its own dependencies and no others.
	$(UV) venv --quiet --clear --python $(PYTHON) .venv-edge
	$(UV) export --quiet --locked --package signs-runtime --extra cpu --no-dev --no-emit-workspace -o .venv-edge/requirements.txt
	$(UV) export --quiet --locked --only-group test --no-emit-workspace -o .venv-edge/test-requirements.txt
	$(UV) pip install --quiet --python .venv-edge/bin/python -r .venv-edge/requirements.txt -r .venv-edge/test-requirements.txt
	$(UV) pip install --quiet --python .venv-edge/bin/python --no-deps dist/signs_runtime-*.whl
	.venv-edge/bin/python -m pytest -n 2 --dist worksteal tests/runtime tests/fuzz

mutations: setup  ## The parity gate's score against made faults, and its false alarms; MODEL=, DATA= and SCALING= as for bench.
	$(BIN)/python -m tests.parity.mutation_score
	$(BIN)/python -m tests.parity.mutation_score --honest 20
ifdef MODEL
	$(BIN)/python -m tests.parity.mutation_score --model $(MODEL) --data $(DATA) $(SCALING)
endif

zoo: setup  ## Export classifiers of every make, and break them: false alarms, faults caught, docs/zoo.md; takes hours.
	$(BIN)/python -m tests.zoo
	$(BIN)/python -m tests.zoo --seeds 3 --thrice
	$(BIN)/python -m tests.zoo --faults

SECONDS ?= 600

fuzz: $(UV)  ## Fuzz what reads pictures and bundles for SECONDS=600 of CPU, on Linux; runs add up in fuzz/.
	$(UV) venv --quiet --clear --python $(PYTHON) .venv-fuzz
	$(UV) export --quiet --locked --package signs-runtime --extra cpu --no-dev --no-emit-workspace -o .venv-fuzz/requirements.txt
	$(UV) export --quiet --locked --only-group fuzz --no-emit-workspace -o .venv-fuzz/fuzz-requirements.txt
	$(UV) pip install --quiet --python .venv-fuzz/bin/python -r .venv-fuzz/requirements.txt -r .venv-fuzz/fuzz-requirements.txt
	$(UV) pip install --quiet --python .venv-fuzz/bin/python --no-deps -e runtime
	.venv-fuzz/bin/python -m tests.fuzz.fuzz --seconds $(SECONDS)

bench: setup  ## Measure training and, with MODEL=my.keras [SCALING="--scaling unit"], export and int8, on DATA=signs; keep the machine idle.
	$(BIN)/python benchmarks/epoch_time.py $(DATA)
	$(BIN)/python benchmarks/time_to_accuracy.py $(DATA)
	$(BIN)/python benchmarks/training_memory.py
	$(BIN)/python -m benchmarks.readings
	$(BIN)/python -m benchmarks.inspection
ifdef MODEL
	$(BIN)/python benchmarks/export_time.py $(MODEL) $(DATA) $(SCALING)
	$(BIN)/python benchmarks/int8_methods.py $(MODEL) $(DATA) $(SCALING)
	$(BIN)/python benchmarks/int8_products.py $(MODEL) $(DATA) $(SCALING)
	$(BIN)/signs export $(MODEL) $(DATA) $(SCALING) --variants fp32,int8,fp16 -o bench/bundle
	$(BIN)/python benchmarks/int8_speed.py bench/bundle
	$(BIN)/python benchmarks/int8_without_vnni.py bench/bundle $(DATA)
	rm -rf bench/hands
	$(BIN)/signs draw bench/hands --count 200
	$(BIN)/python benchmarks/cold_start.py bench/bundle bench/hands/0_IMG_0000.png --keras $(MODEL)
	$(BIN)/python benchmarks/runtime_overhead.py bench/bundle bench/hands
	$(BIN)/python benchmarks/session_settings.py bench/bundle bench/hands
	$(BIN)/python benchmarks/runtime_memory.py bench/bundle bench/hands/0_IMG_0000.png
	$(BIN)/python benchmarks/throughput.py bench/bundle bench/hands
	$(BIN)/python benchmarks/tuning.py bench/bundle
	$(BIN)/python benchmarks/one_cpu.py bench/bundle
	$(BIN)/python -m benchmarks.web_start bench/bundle bench/hands/0_IMG_0000.png
endif

peers: setup  ## Time every runtime that we know of on MODEL=my.keras and DATA=pictures; writes docs/peers.md; keep the machine idle.
	cd benchmarks/peers && UV_PROJECT_ENVIRONMENT=$(CURDIR)/.venv-peers ../../$(UV) sync --quiet --locked --python $(PYTHON)
	$(BIN)/python -m benchmarks.peers $(MODEL) $(DATA) $(SCALING) $(if $(PICTURES),--pictures $(PICTURES)) --write docs

arm: setup  ## Install BUNDLE's board folder on emulated ARM CPUs, verify it, and compare its answers to PICTURES=; Linux, as root.
	$(BIN)/python -m tests.packaging.arm $(BUNDLE) $(PICTURES)

check: lint docs test elsewhere edge  ## All that CI checks.

clean:  ## Remove what the other targets made.
	rm -rf .tools .venv .venv-edge .venv-fuzz .venv-peers dist demo bench fuzz site zoo
