# Two commands do it all on a fresh machine: `make run` and `make test`.
# COVERAGE_CORE: from Python 3.12 on, coverage sees lines without tracing calls, which costs next to nothing.
PYTHON ?= python3
ARGS ?= --dset digits
BIN = .venv/bin
CONSTRAINTS = constraints.txt
FUZZ ?= 25
BENCH ?=
PYTEST = $(BIN)/python -m pytest
TOGETHER = -n auto --dist worksteal --durations=25

.PHONY: run test coverage timing test-all kills fuzz soak bench lint clean

run: .venv/run.stamp
	$(BIN)/python train_vae.py $(ARGS)

test: .venv/test.stamp
	$(PYTEST) $(TOGETHER) -m "not timing and not slow"
	$(PYTEST) -m timing

# The same, and which lines of the package are run; it takes half as long again.
coverage: .venv/test.stamp
	$(PYTEST) $(TOGETHER) -m "not timing and not slow" --cov=bicoder --cov-report=term-missing --cov-fail-under=90
	$(PYTEST) -m timing

# Everything, with XLA wherever users have it.
test-all: .venv/test.stamp
	BICODER_XLA=1 $(PYTEST) $(TOGETHER) -m "not timing"
	$(PYTEST) -m timing

kills: .venv/test.stamp
	BICODER_XLA=1 $(PYTEST) tests/runs/test_resume.py tests/runs/test_checkpoints.py -k kill --capture=no

# Ten minutes of damaged files, other ones every time; FUZZ=1000 for a night.
fuzz: .venv/test.stamp
	BICODER_FUZZ=$(FUZZ) $(BIN)/python -m pytest tests/data/formats/test_mutations.py --quiet --capture=no --timeout=0

# Fifty kills at random moments, and memory over long trainings; BICODER_COLOR_DIR=DIR adds the whole mnist_color.
soak: .venv/test.stamp
	BICODER_KILLS=50 $(BIN)/python -m pytest tests/runs/test_resume.py -k random --timeout=0 --capture=no
	$(BIN)/python -m pytest tests/runs/soak.py --capture=no

# Half an hour on a quiet machine; BENCH="--rows mlp,conv --data_dir DIR" for a part of it.
bench: .venv/run.stamp .venv-bench/pip.stamp
	$(BIN)/python benchmarks/speed.py $(BENCH)
	$(BIN)/python benchmarks/speed.py --table

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

# What the benchmark compares with; PyTorch's index of CPU builds, in $PIP_EXTRA_INDEX_URL, saves gigabytes.
.venv-bench/pip.stamp: benchmarks/requirements.txt
	$(PYTHON) -m venv .venv-bench
	.venv-bench/bin/python -m pip install --quiet --disable-pip-version-check -r benchmarks/requirements.txt
	touch $@

clean:
	rm -rf .venv .venv-bench build dist *.egg-info .coverage .pytest_cache .mypy_cache .ruff_cache .hypothesis
