# One command per task, the same at the desk and in CI.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
BUF := build/node_modules/.bin/buf
GOOGLEAPIS := build/third_party/google/rpc/status.proto
PROTOS := $(wildcard protos/compactface/v1/*.proto)
STUBS := shared/compactface/v1

.DEFAULT_GOAL := help
.PHONY: help setup demo demo-console test mutants lint format protos protos-check lock bench edge \
	console overload climb fuzz kills line soak reliability manual clean

help:  ## what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

$(INSTALLED): pyproject.toml requirements.lock
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c requirements.lock -e '.[encoder,camera,recognizer,web,cluster,encryption,train,evaluate,docs,dev]'
	touch $@

setup: $(INSTALLED)  ## a virtual environment in .venv with everything in it

demo: setup  ## the main job on the sample photographs, with both services as real processes
	$(BIN)/compactface demo

demo-console: setup  ## the demo, then the web console on what it enrolled, until Ctrl-C
	$(BIN)/compactface demo --console

test: setup  ## all tests, and the share of the services' lines that they run
	rm -rf build/coverage
	$(BIN)/coverage run -m pytest --numprocesses=2 --dist=loadfile
	$(BIN)/coverage combine --quiet
	@echo "coverage: $$($(BIN)/coverage report --format=total) % of the lines of services, program and client"

manual: setup  ## the manual, in build/manual; `python -m http.server -d build/manual` shows it
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet --strict

mutants: setup  ## whether tests notice wrong signs in the modules that decide; MODULES=... for some
	OMP_NUM_THREADS=1 $(BIN)/mutmut run $(MODULES)  # a fork with threads of OpenMP would hang
	@$(BIN)/mutmut export-cicd-stats
	@$(BIN)/python -c 'import json; found = json.load(open("mutants/mutmut-cicd-stats.json")); \
		noticed = found["killed"] + found["timeout"]; \
		print("mutants:", noticed, "of", noticed + found["survived"] + found["no_tests"], "noticed")'

lint: setup protos-check  ## style, types, import directions, protocol
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup  ## rewrite the code in the project's style
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

$(GOOGLEAPIS): $(INSTALLED)
	mkdir -p $(@D)
	cp "$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/google/rpc/status.proto" $@

$(BUF):
	npm install --silent --no-audit --no-fund --prefix build @bufbuild/buf@1.75.0

protos: setup $(GOOGLEAPIS)  ## generate the stubs anew
	$(BIN)/python -m grpc_tools.protoc -I protos -I build/third_party \
		--python_out=shared --pyi_out=shared --grpc_python_out=shared $(PROTOS)

protos-check: setup $(GOOGLEAPIS) $(BUF)  ## lint, compatibility with the released protocol, fresh stubs
	$(BUF) lint
	$(BUF) build -o build/now.binpb
	$(BUF) breaking build/now.binpb --against protos/released.binpb
	mkdir -p build/stubs
	$(BIN)/python -m grpc_tools.protoc -I protos -I build/third_party \
		--python_out=build/stubs --pyi_out=build/stubs --grpc_python_out=build/stubs $(PROTOS)
	diff -r --exclude=__init__.py --exclude=__pycache__ build/stubs/compactface/v1 $(STUBS)

lock: setup  ## choose new versions of all dependencies, for images and continuous integration
	$(BIN)/uv pip compile pyproject.toml --upgrade --all-extras --universal --python-version 3.11 \
		--no-emit-index-url --no-annotate --custom-compile-command "make lock" --quiet \
		-o requirements.lock

bench: setup  ## latencies and ratios, measured side by side
	$(BIN)/python tests/benchmarks/bench_latency.py
	$(BIN)/python -m tests.benchmarks.bench_throughput
	$(BIN)/python -m tests.benchmarks.bench_camera

overload: setup  ## goodput at two and four times capacity
	$(BIN)/python -m tests.benchmarks.bench_overload

edge: setup  ## report/edge.md: from the camera to the watcher, half an hour
	mkdir -p build
	$(BIN)/python -m tests.faults.uplink_faults --kills 200 > build/faults.json
	$(BIN)/python -m tests.benchmarks.bench_edge --faults build/faults.json

console: setup  ## report/console.md: page loads and live rows in Chromium, five minutes
	$(BIN)/python -m tests.benchmarks.bench_console --report report/console.md

climb: setup  ## 100,000 calls of an attacker who changes a map until it matches
	$(BIN)/python -m tests.faults.climb --calls 100000

fuzz: setup  ## a million invented and damaged maps, pictures, archives and calls
	$(BIN)/python -m tests.faults.fuzz --inputs 1000000

kills: setup  ## kill -9 and losses of power, of the gallery and of both services under mixed load
	$(BIN)/python -m tests.faults.gallery_faults --kills 250
	$(BIN)/python -m tests.faults.uplink_faults --kills 250

line: setup  ## both services over a line that is far, lossy, thin and cut; needs root
	$(BIN)/python -m tests.faults.line_faults --seconds 300

soak: setup  ## half an hour of mixed load: memory, handles, threads, write-ahead log
	$(BIN)/python -m tests.faults.soak --minutes 30

reliability: setup  ## bounded runs of all of these, written to report/reliability.md and .json
	$(BIN)/python -m tests.faults.reliability --report report

clean:  ## remove what was built, but for the virtual environment
	rm -rf build mutants
