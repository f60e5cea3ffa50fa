# make study | test | lab | bench. Each sets itself up first: a .venv here, from requirements.lock.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
CHROMIUM := DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends chromium fonts-dejavu-core >/dev/null

.PHONY: setup study test browser lab bench lint soak fuzz scale audit lock clean
.DEFAULT_GOAL := study

setup: $(READY)

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c "import sys; sys.exit(0 if (3, 11) <= sys.version_info < (3, 14) else 'Python 3.11 to 3.13 is needed, this is ' + sys.version.split()[0] + ': give another, make PYTHON=python3.12')"
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation \
	  --config-settings editable_mode=compat -e .
	@touch $@

study: $(READY)  ## all 32 runs on the embedded default, the analysis and the report
	$(BIN)/python -m lib.study run
	$(BIN)/python -m lib.study report

test: $(READY) browser
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

browser:  ## Chromium for the browser tests; without it they are skipped
	@if ! { command -v chromium || command -v chromium-browser || command -v google-chrome; } >/dev/null 2>&1; then \
	  if ! command -v apt-get >/dev/null; then echo "Chromium is missing: the browser tests will be skipped"; \
	  elif [ "$$(id -u)" = 0 ]; then apt-get update -qq && $(CHROMIUM); \
	  else echo "installing Chromium with sudo"; sudo -n sh -c 'apt-get update -qq && $(CHROMIUM)' || \
	    echo "Chromium is missing, install it with: sudo apt install chromium"; fi; fi

lab: $(READY)  ## JupyterLab on the front page
	$(BIN)/jupyter lab --ServerApp.root_dir=. --LabApp.default_url=/lab/tree/notebooks/index.ipynb $(LAB)

bench: $(READY)  ## performance tables, written to outputs/bench
	$(BIN)/python tests/bench/bench.py
	$(BIN)/python tests/bench/bench_inspector.py

lint: $(READY)  ## ruff: rules and format, as in pyproject.toml
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

soak: $(READY)  ## 60 faults at random moments; nothing may be lost
	$(BIN)/python tests/faults/soak.py --faults 60

fuzz: $(READY)  ## 10,000 bad inputs; each ends in a result or a sentence
	$(BIN)/python tests/faults/fuzz.py --cases 10000

lock:  ## pins what pyproject.toml asks for (needs uv)
	uv pip compile --quiet --universal --generate-hashes --no-strip-extras --no-annotate --no-header \
	  --no-emit-index-url --no-emit-find-links --extra test pyproject.toml -o requirements.lock

scale: $(READY)  ## 2,000 runs of a stub notebook on 16 workers: the driver's memory, the cost of a run
	$(BIN)/python tests/faults/scale.py --runs 2000 --workers 16

audit: $(READY)  ## the locked versions against known vulnerabilities
	$(BIN)/python -m venv .venv/audit
	.venv/audit/bin/pip install --quiet --disable-pip-version-check pip-audit
	.venv/audit/bin/pip-audit --requirement requirements.lock --disable-pip --require-hashes

clean:  ## removes the environment and caches, never results
	rm -rf .venv outputs/cache *.egg-info
