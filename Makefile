# Commands for developers and CI. A fresh machine needs git, make and Python 3.11 to 3.13 with pip and venv.

PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3.13 || command -v python3)
UV_VERSION := 0.13.8
UV := .tools/bin/uv
BIN := .venv/bin

export UV_PYTHON_DOWNLOADS := never
# Tests of commands start many processes: compile the packages once, not in each process.
export UV_COMPILE_BYTECODE := 1

.PHONY: help setup demo lint docs test elsewhere edge wheels mutations zoo fuzz bench bench-training peers arm check clean

help:  ## List the targets.
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/' | expand -t 10

$(UV): Makefile
	$(PYTHON) -m venv .tools
	.tools/bin/pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	@touch $@

setup: $(UV)  ## Install everything into .venv, in the versions of uv.lock.
	$(UV) sync --quiet --locked --python $(PYTHON)

demo: setup  ## Run the main job on the embedded data, and label new pictures with the bundle.
	$(BIN)/build-and-export --recipe pictures --epochs 4 -o demo/bundle
	$(BIN)/signs verify demo/bundle
	rm -rf demo/hands
	$(BIN)/signs draw demo/hands --count 6 --seed 1
	$(BIN)/signs predict demo/bundle demo/hands

lint: setup  ## Check style, types and the layers of packages.
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

ELSEWHERE := tests/runtime tests/builder/data

# Only two processes, because a test that trains takes 3 GB. One OpenBLAS thread each, because idle ones spin and waste CPU.
test: setup  ## Run all tests; SIGNS_DATA and SIGNS_MODEL add those on real pictures.
	OPENBLAS_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist worksteal --durations 25

elsewhere: setup  ## Run tests without what only Linux has: /proc, /sys, some modules and functions of os.
	PYTHONPATH=tests/elsewhere OPENBLAS_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist worksteal $(ELSEWHERE)

docs: setup  ## Build the pages in docs/ into site/; any warning is an error.
	$(BIN)/sphinx-build --quiet --fail-on-warning --keep-going --fresh-env docs site

wheels: setup  ## Build both wheels into dist/.
	rm -rf dist
	$(UV) build --quiet --wheel --all-packages --python $(PYTHON) --out-dir dist

edge: wheels  ## Run the runtime's tests on its built wheel, with only its own dependencies.
	$(UV) venv --quiet --clear --python $(PYTHON) .venv-edge
	$(UV) export --quiet --locked --package signs-runtime --extra cpu --no-dev --no-emit-workspace -o .venv-edge/requirements.txt
	$(UV) export --quiet --locked --only-group test --no-emit-workspace -o .venv-edge/test-requirements.txt
	$(UV) pip install --quiet --python .venv-edge/bin/python -r .venv-edge/requirements.txt -r .venv-edge/test-requirements.txt
	$(UV) pip install --quiet --python .venv-edge/bin/python --no-deps dist/signs_runtime-*.whl
	.venv-edge/bin/python -m pytest -n 2 --dist worksteal tests/runtime tests/fuzz

mutations: setup  ## Count the faults that the gate catches, and its false alarms; MODEL=, DATA= and SCALING= as for bench.
	$(BIN)/python -m tests.parity.mutation_score
	$(BIN)/python -m tests.parity.mutation_score --honest 20
ifdef MODEL
	$(BIN)/python -m tests.parity.mutation_score --model $(MODEL) --data $(DATA) $(SCALING)
endif

zoo: setup  ## Export and break many kinds of classifiers, and write docs/zoo.md: false alarms, faults caught; takes hours.
	$(BIN)/python -m tests.zoo
	$(BIN)/python -m tests.zoo --seeds 3 --thrice
	$(BIN)/python -m tests.zoo --faults

SECONDS ?= 600

fuzz: $(UV)  ## Fuzz the reading of pictures and bundles for SECONDS=600 of CPU time, on Linux; findings collect in fuzz/.
	$(UV) venv --quiet --clear --python $(PYTHON) .venv-fuzz
	$(UV) export --quiet --locked --package signs-runtime --extra cpu --no-dev --no-emit-workspace -o .venv-fuzz/requirements.txt
	$(UV) export --quiet --locked --only-group fuzz --no-emit-workspace -o .venv-fuzz/fuzz-requirements.txt
	$(UV) pip install --quiet --python .venv-fuzz/bin/python -r .venv-fuzz/requirements.txt -r .venv-fuzz/fuzz-requirements.txt
	$(UV) pip install --quiet --python .venv-fuzz/bin/python --no-deps -e runtime
	.venv-fuzz/bin/python -m tests.fuzz.fuzz --seconds $(SECONDS)

bench: setup peers  ## Measure peers, export and runtime with MODEL=my.keras DATA=pictures [SCALING="--scaling unit"]; keep the machine idle (over an hour).
	$(BIN)/python -m benchmarks.export.export_time $(MODEL) $(DATA) $(SCALING)
	$(BIN)/python -m benchmarks.export.int8_methods $(MODEL) $(DATA) $(SCALING)
	$(BIN)/python -m benchmarks.export.graph_changes $(MODEL) $(DATA) $(SCALING)
	$(BIN)/signs export $(MODEL) $(DATA) $(SCALING) --variants fp32,int8,fp16 -o bench/bundle
	$(BIN)/python -m benchmarks.export.int8_speed bench/bundle
	$(BIN)/python -m benchmarks.export.int8_without_vnni bench/bundle $(DATA)
	rm -rf bench/hands
	$(BIN)/signs draw bench/hands --count 200
	$(BIN)/python -m benchmarks.runtime.cold_start bench/bundle bench/hands/0_IMG_0000.png --keras $(MODEL)
	$(BIN)/python -m benchmarks.runtime.overhead bench/bundle bench/hands
	$(BIN)/python -m benchmarks.runtime.session_settings bench/bundle bench/hands
	$(BIN)/python -m benchmarks.runtime.memory bench/bundle bench/hands/0_IMG_0000.png
	$(BIN)/python -m benchmarks.runtime.throughput bench/bundle bench/hands
	$(BIN)/python -m benchmarks.runtime.tuning bench/bundle
	$(BIN)/python -m benchmarks.runtime.one_cpu bench/bundle
	$(BIN)/python -m benchmarks.runtime.web_start bench/bundle bench/hands/0_IMG_0000.png
	$(BIN)/python -m benchmarks.runtime.readings
	$(BIN)/python -m benchmarks.export.inspection

bench-training: setup  ## Measure training on DATA=signs; keep the machine idle (an hour).
	$(BIN)/python -m benchmarks.training.epoch_time $(DATA)
	$(BIN)/python -m benchmarks.training.time_to_accuracy $(DATA) --give-up 2
	$(BIN)/python -m benchmarks.training.memory

peers: setup  ## Time all known runtimes on MODEL=my.keras and DATA=pictures, and write docs/peers.md; keep the machine idle.
	cd benchmarks/peers && UV_PROJECT_ENVIRONMENT=$(CURDIR)/.venv-peers ../../$(UV) sync --quiet --locked --python $(PYTHON)
	$(BIN)/python -m benchmarks.peers $(MODEL) $(DATA) $(SCALING) $(if $(PICTURES),--pictures $(PICTURES)) --write docs

arm: setup  ## Install the board folder of BUNDLE= on emulated ARM CPUs, verify it, and compare answers on PICTURES=; Linux, as root.
	$(BIN)/python -m tests.packaging.arm $(BUNDLE) $(PICTURES)

check: lint docs test elsewhere edge  ## Run everything that CI checks.

clean:  ## Remove what the other targets created.
	rm -rf .tools .venv .venv-edge .venv-fuzz .venv-peers dist demo bench fuzz site zoo
