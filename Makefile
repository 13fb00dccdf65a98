# Two commands do everything: `make demo` and `make test`. They share the environment in .venv; with another interpreter,
# as in `make test PYTHON=python3.13`, it is one of its own, .venv-3.13.

PYTHON ?= python3
VERSION = $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')
VENV ?= $(if $(filter python3,$(PYTHON)),.venv,.venv-$(or $(VERSION),$(error $(PYTHON) is no Python interpreter)))
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

PYTEST = $(BIN)/python -m pytest -n auto --dist worksteal -m "not slow"
# What may change with JAX: its primitives and their rules, derivatives, loops, training, export, certificates, a study.
# In double precision: what depends on the format is ours.
TESTS_OF_JAX := tests/test_compat.py $(addprefix tests/intervals/test_interval_, rules.py control.py activations.py \
	adjoints.py inclusion.py) tests/exchange/test_activations.py tests/sobolev/test_loss.py tests/study/test_run.py \
	tests/certification/test_certify.py::test_verdicts_are_proved_refuted_with_a_witness_or_open \
	-k "test_compat or not (float32 or derivatives_of_bounds)"

.PHONY: demo test reduced prerelease sweep fuzz check tables peers margins clean

demo: $(INSTALLED)  ## Run the published case study and write runs/bachelier/report.html.
	$(BIN)/sobolev-pruning run bachelier --output runs/bachelier --overwrite

test: $(INSTALLED)  ## Run the test suite.
	$(PYTEST)

reduced: $(INSTALLED)  ## Run the part of the test suite that shows whether a version of JAX is supported.
	$(PYTEST) $(TESTS_OF_JAX)

# Of the registry, or, for nightly builds, of the index that JAX documents, given in PIP_EXTRA_INDEX_URL.
prerelease:  ## Run the test suite on the newest pre-release of JAX, in its own environment; needs Python 3.12 or later.
	$(MAKE) .venv-prerelease/.installed VENV=.venv-prerelease
	.venv-prerelease/bin/python -m pip install --quiet --disable-pip-version-check --pre --upgrade jax jaxlib
	.venv-prerelease/bin/python -c 'import jax; print("JAX", jax.__version__)'
	SOBOLEV_PRUNING_UNTRIED_JAX=1 $(MAKE) test VENV=.venv-prerelease

sweep: $(INSTALLED)  ## Run the tests that are too long for every change.
	$(BIN)/python -m pytest -n auto --dist worksteal -m slow --fresh-seeds

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
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[onnx,dev]'
	touch $@

clean:  ## Remove the environment and all output.
	rm -rf .venv .venv-* runs
