# Two commands do it all on a fresh machine: `make run` and `make test`.
PYTHON ?= python3
ARGS ?= --dset digits
BIN = .venv/bin
CONSTRAINTS = constraints.txt
FUZZ ?= 25
BENCH ?=
DATA ?=
NUMBERS ?=
PYTEST = $(BIN)/python -m pytest
TOGETHER = $(PYTEST) -n auto --dist worksteal --durations=25 -m "not timing"
MODELS = categorical component distributions fusions kl likelihoods networks numerics objectives returned saving \
	sees_mask vae views waiting
ON_JAX ?= $(MODELS:%=tests/test_%.py) tests/engine
ALONE = $(PYTEST) -m timing $$(grep -rl --include='test_*.py' mark.timing tests)

.PHONY: run test test-jax test-all coverage kills fuzz soak export-all bench docs-numbers views-numbers conditional-numbers backends-all docs logging-page docs-lines lint clean

run: .venv/run.stamp
	$(BIN)/python train_vae.py $(ARGS)

test: .venv/test.stamp
	$(TOGETHER)
	$(ALONE)

# What is not about TensorFlow, of the mathematics and the engine, on JAX, which compiles for minutes what these tests
# run: its programs are kept in a folder, since many tests need the same ones. ON_JAX="tests/test_contract.py" for more.
test-jax: .venv/test.stamp
	KERAS_BACKEND=jax JAX_COMPILATION_CACHE_DIR=$(CURDIR)/.venv/jax JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS=0 \
	$(PYTEST) -n auto --dist worksteal --durations=25 -m "not timing and not tensorflow" \
	--ignore=tests/engine/test_devices.py $(ON_JAX)

# With XLA wherever users have it, which takes twice as long.
test-all: .venv/test.stamp
	BICODER_XLA=1 $(TOGETHER)
	$(ALONE)

# Which lines of the package the tests run; to watch them takes half as long again.
coverage: .venv/test.stamp
	$(TOGETHER) --cov=bicoder --cov-report=term-missing --cov-fail-under=90

# Fifty kills at random moments, with XLA, and three of one of two hosts.
kills: .venv/test.stamp
	BICODER_KILLS=50 BICODER_XLA=1 $(PYTEST) tests/runs/test_resume.py tests/runs/hosts/test_hosts.py -k random \
	--timeout=0 --capture=no

# Ten minutes of damaged files, other ones every time; FUZZ=1000 for a night.
fuzz: .venv/test.stamp
	BICODER_FUZZ=$(FUZZ) $(PYTEST) tests/data/formats/test_mutations.py --quiet --capture=no --timeout=0

# Memory over long trainings, after the kills; BICODER_COLOR_DIR=DIR adds the whole mnist_color.
soak: kills
	$(PYTEST) tests/runs/soak.py --capture=no

# Every part in every format, and a file where there is nothing but its runtime; the second needs a network.
export-all: .venv/test.stamp
	$(PYTEST) tests/exports/all_parts.py tests/exports/elsewhere.py --quiet --capture=no --timeout=0

# Half an hour on a quiet machine; BENCH="--rows mlp,conv --data_dir DIR" for a part of it.
bench: .venv/run.stamp .venv-bench/pip.stamp
	$(BIN)/python benchmarks/speed.py $(BENCH)
	$(BIN)/python benchmarks/speed.py --table

# The trainings whose numbers stand in docs/; DATA=DIR for where MNIST is, NUMBERS="--rows mnist_color" for that one.
docs-numbers: .venv/run.stamp
	$(BIN)/python benchmarks/docs_numbers.py $(if $(DATA),--data_dir $(DATA)) $(NUMBERS)

# Five methods for several views of mnist_color, beside published numbers; DATA=DIR for where it is, hours on a CPU.
views-numbers: .venv/run.stamp
	$(BIN)/python benchmarks/views_numbers.py $(if $(DATA),--data_dir $(DATA)) $(NUMBERS)

# log p(x|y) of MNIST beside log p(x); DATA=DIR for where it is.
conditional-numbers: .venv/run.stamp
	$(BIN)/python benchmarks/conditional_numbers.py $(if $(DATA),--data_dir $(DATA)) $(NUMBERS)

# The documentation as a site; a warning is an error. Open docs/_build/html/index.html.
docs: .venv/docs.stamp
	$(BIN)/python -m sphinx -q -E -n -W --keep-going -c docs -d docs/_build/doctrees . docs/_build/html

# What docs/logging.md prints, by the callbacks of W&B and MLflow.
logging-page: .venv-logging/pip.stamp
	.venv-logging/bin/python docs/logging_page.py

# Runs of every part, written on one backend of Keras and read on another, of those that are installed.
backends-all: .venv/test.stamp
	BICODER_BACKENDS=all $(PYTEST) tests/test_backends.py -k same_on_another --capture=no --timeout=0

# The links of the pages to lines of code, after the code has moved; it needs no environment.
docs-lines:
	$(PYTHON) docs/lines.py

lint: .venv/test.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

.venv/pip.stamp:
	$(PYTHON) -m venv .venv
	touch $@

.venv/run.stamp: .venv/pip.stamp pyproject.toml $(CONSTRAINTS)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c $(CONSTRAINTS) -e .
	touch $@

.venv/test.stamp: .venv/pip.stamp pyproject.toml $(CONSTRAINTS)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c $(CONSTRAINTS) -e ".[test]"
	touch $@

.venv/docs.stamp: .venv/pip.stamp pyproject.toml $(CONSTRAINTS)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c $(CONSTRAINTS) -e ".[docs]"
	touch $@

# What the benchmark compares with; PyTorch's index of CPU builds, in $PIP_EXTRA_INDEX_URL, saves gigabytes.
.venv-bench/pip.stamp: benchmarks/requirements.txt
	$(PYTHON) -m venv .venv-bench
	.venv-bench/bin/python -m pip install --quiet --disable-pip-version-check -r benchmarks/requirements.txt
	touch $@

.venv-logging/pip.stamp: docs/logging_requirements.txt pyproject.toml $(CONSTRAINTS)
	$(PYTHON) -m venv .venv-logging
	.venv-logging/bin/python -m pip install --quiet --disable-pip-version-check -c $(CONSTRAINTS) -e .
	.venv-logging/bin/python -m pip install --quiet --disable-pip-version-check -r docs/logging_requirements.txt
	touch $@

clean:
	rm -rf .venv .venv-bench .venv-logging build dist docs/_build *.egg-info .coverage .pytest_cache .mypy_cache .ruff_cache .hypothesis
