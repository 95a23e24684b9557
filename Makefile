# `make demo` and `make test` need only Python 3.10 or newer.
# Both can be interrupted; a repeated call continues with the first step that is not complete.

PYTHON ?= python3
ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
# Written when the environment is complete; its name depends on the requirements.
STAMP := $(VENV)/.ready-$(shell cat requirements.txt setup.cfg pyproject.toml | cksum | cut -d ' ' -f 1)
# A system-wide uv shares its cache of packages with other projects; else uv is installed in the environment.
UV := $(shell uv --version >/dev/null 2>&1 && echo uv || echo $(BIN)/uv)
INSTALL := $(UV) pip install --python $(BIN)/python

.DEFAULT_GOAL := help
.PHONY: help env demo demo-dff demo-segmentation test lint format clean check-python operators

help:
	@echo 'make demo    train a detector and adapt it to unlabeled videos, on synthetic data'
	@echo '             (about 16 minutes on 2 idle cores)'
	@echo 'make demo-dff  the rows of semi-DFF'\''s Table 1 and supervised variants of Deep Feature Flow (45 minutes)'
	@echo 'make demo-segmentation  semantic segmentation in place of detection'
	@echo 'make test    run the tests (12 minutes on 2 cores)'
	@echo 'make env     create the environment in $(VENV), as demo and test do'
	@echo '             (a few minutes the first time: 3 GB of downloads)'
	@echo 'make lint    check the style with ruff;  make format  apply it'
	@echo 'make clean   remove caches, but neither $(VENV) nor work_dirs'
	@echo ''
	@echo 'PYTHON=...   Python of the environment (default: python3)'
	@echo 'OPERATORS=1  with make env: also compile all operators of mmcv, which few detectors need (docs/install.md)'
	@echo 'OUT=...      folder of a demo; SEED=..., MINUTES=... of make demo; SEEDS="0 1 2", JOBS=... of the others'
	@echo '             (docs/experiments.md)'
	@echo 'ARGS=...     options for make test (pytest --help)'

env: $(STAMP) $(if $(OPERATORS),operators)

demo: $(STAMP)
	@$(MAKE) --no-print-directory -f configs/quickstart/demo.mk BIN=$(BIN)

demo-dff: $(STAMP)
	@$(MAKE) --no-print-directory -f configs/quickstart/dff.mk BIN=$(BIN)

demo-segmentation: $(STAMP)
	@$(MAKE) --no-print-directory -f configs/quickstart/segmentation.mk BIN=$(BIN)

test: $(STAMP)
	@echo 'Tests: 12 minutes on 2 cores.'
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n logical --maxprocesses 8 --dist worksteal --durations 10 $(ARGS)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf build dist *.egg-info .pytest_cache .ruff_cache
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +

check-python:
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if v >= (3, 10) else \
	  "Python %d.%d is too old: semidff needs 3.10 or newer. Set another: make env PYTHON=python3.11" % v[:2])' \
	  || { command -v $(PYTHON) >/dev/null || echo 'Name a Python: make env PYTHON=...' >&2; exit 1; }

$(STAMP):
	@$(MAKE) --no-print-directory check-python
	@rm -f $(VENV)/.ready-*
	@echo '1/3 Environment in $(VENV)'
	@if [ "$(UV)" = uv ]; then \
	  uv venv --quiet --allow-existing --python $$($(PYTHON) -c 'import sys; print(sys.executable)') $(VENV); \
	elif [ ! -x $(BIN)/uv ]; then \
	  $(PYTHON) -m venv $(VENV) || { \
	    echo 'This Python has no venv module. Debian, Ubuntu: apt install python3-venv; or install uv.' >&2; exit 1; }; \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check uv; \
	fi
	@echo '2/3 Packages: 3 GB to download'
	$(INSTALL) -r requirements.txt
	@echo '3/3 semidff, and a test of the imports'
	$(INSTALL) --quiet --no-deps --no-build-isolation --editable .
	@$(BIN)/python -c 'import semidff, torch, torchvision, mmcv.ops, mmdet; print("torch", torch.__version__, "mmdet", mmdet.__version__)' || { \
	  echo 'The packages cannot be imported; docs/install.md, "When something fails", lists the usual causes.' >&2; \
	  exit 1; }
	@touch $@
	@echo 'The environment is ready.'

# Compiled for the PyTorch of the environment: without build isolation, and never from the cache.
operators: $(STAMP)
	@$(BIN)/python -c 'import torch, mmcv._ext' 2>/dev/null || { \
	  echo 'mmcv with all its operators: 6 to 20 minutes on 2 cores without output'; \
	  $(INSTALL) --no-deps --no-build-isolation --no-cache --reinstall-package onedl-mmcv \
	    $$(grep '^onedl-mmcv==' requirements.txt) && $(BIN)/python -c 'import torch, mmcv._ext'; }
