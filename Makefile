# Everything runs in .venv, which the first target that needs it makes: any Python 3.11 or newer with venv will do.
PYTHON ?= python3
DATA ?= demo-data
PORT ?= 8000
WORKERS ?= 2
MINUTES ?= 30

# Compiled modules are kept, whatever the environment says: the tests start dozens of processes, and compiling
# PyTorch and its like anew in each takes longer than what most of them are started for.
export PYTHONDONTWRITEBYTECODE :=

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help install demo demo-built test chaos soak lint bench bench-load bench-page bench-build bench-dgl bench-quality bench-scale lock audit clean

help: ## Say what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 16

install: $(STAMP) ## Make the virtual environment with the pinned packages

# The stamp is written last, so a broken or interrupted installation is taken up again.
$(STAMP): requirements.lock installer.lock pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 11) and "imsage needs Python 3.11 or newer")'
	test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r installer.lock
	VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --quiet --require-hashes -r requirements.lock
	# With the setuptools of the lock: an isolated build would fetch one that nothing has checked.
	VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --quiet --no-deps --no-build-isolation --editable .
	touch $(STAMP)

demo: $(STAMP) ## Build the demo catalogue and serve it at http://127.0.0.1:8000
	$(BIN)/imsage demo --data $(DATA) --port $(PORT)

test: lint ## Lint, check types and run the whole test suite
	# Those of the browser by themselves: while Playwright lives in a process, no other test there can run an event
	# loop of its own. Both take the same catalogues.
	IMSAGE_TEST_SHARED=$$(mktemp -d) && export IMSAGE_TEST_SHARED && trap 'rm -rf "$$IMSAGE_TEST_SHARED"' EXIT && \
	$(BIN)/python -m pytest -n $(WORKERS) --ignore tests/browser && \
	$(BIN)/python -m pytest -n $(WORKERS) tests/browser

chaos: $(STAMP) ## Kill it 200 times, swap under readers, draw long histories, fuzz; an hour, figures in docs/reliability.md
	$(BIN)/python -m tests.chaos.kill_anywhere --kills 200
	$(BIN)/python -m tests.chaos.swap_under_load --swaps 20
	IMSAGE_CHAOS=1 $(BIN)/python -m pytest tests/chaos/test_live_machine.py
	IMSAGE_CHAOS=1 $(BIN)/python -m pytest -n $(WORKERS) --timeout 3600 \
		tests/hostile/test_fuzz_requests.py tests/hostile/test_fuzz_sources.py \
		tests/hostile/test_archives.py tests/hostile/test_names.py

soak: $(STAMP) ## Serve mixed traffic for MINUTES (30): memory and file handles must not grow
	$(BIN)/python -m tests.chaos.soak --minutes $(MINUTES)

lint: $(STAMP) ## Lint, check the format and the types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: demo-built ## Measure how fast: encoding, sampling, searching
	$(BIN)/python benchmarks/encode_throughput.py $(DATA)/demo-source/images
	$(BIN)/python benchmarks/encode_throughput.py $(DATA)/demo-source/images --encoder efficientnet_lite0_int8
	$(BIN)/python benchmarks/sampler_throughput.py
	$(BIN)/python -m benchmarks.attachment --data $(DATA)
	$(BIN)/python -m benchmarks.latency_by_id
	$(BIN)/python -m benchmarks.limits --data $(DATA)

bench-load: $(STAMP) ## Measure under load at 100,000 images, each answer checked, beside FAISS, Chroma and LanceDB
	$(BIN)/python -m benchmarks.load --data build/bench/load
	$(BIN)/python -m benchmarks.load.rivals --data build/bench/load --cache build/bench/rivals
	$(BIN)/python -m benchmarks.load.rivals --data build/bench/load --cache build/bench/rivals --no-filter

bench-page: $(STAMP) ## Measure how soon the page follows the dial, over the pictures of bench-load
	$(BIN)/python -m benchmarks.dial_latency --data build/bench/load

bench-build: $(STAMP) ## Measure what a build of PHOTOS costs: time and memory, step by step
	$(BIN)/python -m benchmarks.build_cost $(PHOTOS)

bench-scale: $(STAMP) ## Measure 10,000 to a million generated images, half an hour; QUICK=--quick takes minutes, to 20,000
	$(BIN)/python -m benchmarks.scale --cache build/bench/scale $(QUICK) --json build/bench/scale/figures.json \
		--plots $(if $(QUICK),build/bench/scale,docs/images)

bench-dgl: $(STAMP) ## Measure sampling and training beside DGL, which is installed below build (5 GB); five minutes
	$(BIN)/python -m benchmarks.beside_dgl --cache build/bench/dgl

# PHOTOS names a tags.jsonl of photos with a test split, CAPTIONED one whose photos have captions; by default those of
# coco6k and flickr8k1k below IMSAGE_TEST_DATA.
PHOTOS ?= $(IMSAGE_TEST_DATA)/coco6k/tags.jsonl
CAPTIONED ?= $(IMSAGE_TEST_DATA)/flickr8k1k/tags.jsonl
QUICK ?=
SEEDS ?= 3
ICONS ?= build/icons
bench-quality: demo-built ## Measure how good, and renew docs/quality.md; QUICK=--quick takes minutes and renews nothing
	$(BIN)/python -m benchmarks.icon_folder $(ICONS)
	$(BIN)/python -m benchmarks.quality --photos $(PHOTOS) $(if $(wildcard $(CAPTIONED)),--captioned $(CAPTIONED)) \
		--icons $(ICONS)/tags.jsonl --drawings $(DATA) --seeds $(SEEDS) $(QUICK) \
		--out build/quality$(QUICK) $(if $(QUICK),,--page docs/quality.md)

demo-built: $(STAMP)
	$(BIN)/imsage demo --data $(DATA) --no-serve

lock: $(STAMP) ## Pin the newest allowed packages with their hashes in requirements.lock, and uv in installer.lock
	$(BIN)/uv pip compile --quiet --upgrade --generate-hashes --no-emit-index-url --extra dev --python-version 3.11 pyproject.toml -o requirements.lock
	echo uv | $(BIN)/uv pip compile --quiet --upgrade --generate-hashes --no-emit-index-url --python-version 3.11 - -o installer.lock

# Strict: a package that could not be looked up is no package without weaknesses.
audit: $(STAMP) ## Ask PyPI which pinned packages have known weaknesses
	test -x build/audit/bin/pip-audit || ($(BIN)/python -m venv build/audit && build/audit/bin/pip install --quiet pip-audit)
	build/audit/bin/pip-audit --strict --disable-pip --require-hashes --requirement requirements.lock

clean: ## Remove what was built, the environment and the demo's data
	rm -rf $(VENV) $(DATA) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
