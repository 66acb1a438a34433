# Two commands do it all on a fresh machine: `make run` and `make test`.
PYTHON ?= python3
ARGS ?= --dset digits
BIN = .venv/bin
CONSTRAINTS = constraints.txt
FUZZ ?= 25

.PHONY: run test fuzz soak lint clean

run: .venv/run.stamp
	$(BIN)/python train_vae.py $(ARGS)

test: .venv/test.stamp
	$(BIN)/python -m pytest -n 2 --dist worksteal --cov=bicoder --cov-report=term-missing --cov-fail-under=90

# Ten minutes of damaged files, other ones every time; FUZZ=1000 for a night.
fuzz: .venv/test.stamp
	BICODER_FUZZ=$(FUZZ) $(BIN)/python -m pytest tests/test_mutations.py --quiet --capture=no --timeout=0

# Fifty kills at random moments, and memory over long trainings; BICODER_COLOR_DIR=DIR adds the whole mnist_color.
soak: .venv/test.stamp
	BICODER_KILLS=50 $(BIN)/python -m pytest tests/test_resume.py -k random --timeout=0 --capture=no
	$(BIN)/python -m pytest tests/soak.py --capture=no

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

clean:
	rm -rf .venv build dist *.egg-info .coverage .pytest_cache .mypy_cache .ruff_cache .hypothesis
