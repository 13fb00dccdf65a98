# Two commands do everything: `make demo` and `make test`. They share the environment in .venv.

PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed

.PHONY: demo test sweep fuzz check tables peers margins clean

demo: $(INSTALLED)  ## Run the published case study and write runs/bachelier/report.html.
	$(BIN)/sobolev-pruning run bachelier --output runs/bachelier --overwrite

test: $(INSTALLED)  ## Run the test suite.
	$(BIN)/python -m pytest -n auto --dist worksteal -m "not slow"

sweep: $(INSTALLED)  ## Run the tests that are too long for every change.
	$(BIN)/python -m pytest -n auto --dist worksteal -m slow

fuzz: $(INSTALLED)  ## Read 200 000 damaged files of every kind; takes about half an hour on two cores.
	$(BIN)/python tests/fuzz/fuzz_campaign.py

check: $(INSTALLED)  ## Format, lint and types.
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright

tables: $(INSTALLED)  ## Measure the tables of benchmarks/results again; takes some hours.
	$(BIN)/python benchmarks/case_study.py
	$(BIN)/python benchmarks/significance_regions.py
	$(BIN)/python benchmarks/significance_time.py
	$(BIN)/python benchmarks/optimisers.py
	$(BIN)/python benchmarks/mean_value.py
	$(BIN)/python benchmarks/inclusion_cost.py
	$(BIN)/python benchmarks/tightness.py
	$(BIN)/python benchmarks/subdivision.py --large
	$(BIN)/python benchmarks/sparse.py
	$(BIN)/python benchmarks/simulators.py
	$(BIN)/python benchmarks/orders.py
	$(BIN)/python benchmarks/labels_allow.py
	$(BIN)/python benchmarks/loss_curves.py
	$(BIN)/python benchmarks/before_fine_tuning.py
	$(BIN)/python benchmarks/shrink.py
	$(BIN)/python benchmarks/criteria.py
	$(BIN)/python benchmarks/fifty_assets.py

peers: $(INSTALLED)  ## Time training beside JENN, SMT and PyTorch, which are installed for it.
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[bench]'
	$(BIN)/python benchmarks/training_speed.py

margins: $(INSTALLED)  ## Sweep all float32 operands of every elementary function into docs/margins.md; takes hours, resumes.
	$(BIN)/python benchmarks/rounding_margins.py

# Rebuilt only when the project's requirements change, so that a second call installs nothing.
$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("sobolev-pruning needs Python 3.11 or later") if sys.version_info < (3, 11) else None'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[onnx,dev]'
	touch $@

clean:  ## Remove the environment and all output.
	rm -rf .venv runs
