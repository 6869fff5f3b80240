# Two commands for a bare machine: make demo, make test. `make help` lists the rest.
VENV ?= .venv
PYTHON ?= python3
# Where pip takes torch and torchvision from; empty: the usual index. For the CPU build on Linux:
#   make demo TORCH_INDEX=https://download.pytorch.org/whl/cpu
TORCH_INDEX ?=

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet
CONSTRAINED := $(PIP) --constraint constraints.txt
HASHED := $(PIP) --no-deps --require-hashes --requirement
# One thread a process, and bytecode kept whatever the shell says: both workers compile all tests and all they import.
PYTEST := OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest
TWO := --numprocesses 2 --dist worksteal

.DEFAULT_GOAL := help
# The experiments behind the figures, and what each of their commands is told besides. Those of the chest need the NIH's films:
#   make figures EXPERIMENTS="chest_boxes chest_maps chest_detection" DATA=dataset.root=/data/nih
EXPERIMENTS ?= $(basename $(notdir $(wildcard $(addsuffix /experiment/mnist_*.yaml,conf paper/conf) $(addsuffix /experiment/phantom_*.yaml,conf paper/conf))))
DATA ?=
LOWEST_EXTRAS := timm hf xrv dicom nifti attacks cam ood segments tensorboard view launchers-joblib launchers-submitit

.PHONY: help install develop demo photo test test-fast test-slow test-long test-all test-ray test-lowest test-next test-oracles check figures figures-check format bench chaos checks coverage-check tables docs gallery links hashes wheel clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(VENV)/.base ## the package and what it needs, in .venv; VENV=DIR for another folder

develop: $(VENV)/.dev ## the same, and the tools for tests and checks

$(VENV)/.base: pyproject.toml constraints.txt hashes/base.txt
	@test -x $(BIN)/python || { echo "making $(VENV)"; $(PYTHON) -m venv $(VENV); }
	@echo "installing into $(VENV); this takes some minutes the first time"
	@$(HASHED) hashes/base.txt
	@$(if $(TORCH_INDEX),$(CONSTRAINED) --index-url $(TORCH_INDEX) torch torchvision)
	@$(CONSTRAINED) --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.base hashes/dev.txt
	@$(HASHED) hashes/dev.txt
	@$(CONSTRAINED) --editable '.[dev]'
	@touch $@

demo: $(VENV)/.base ## the main job on the built-in phantom, and its report
	@$(BIN)/dovision-evaluate experiment=demo
	@$(BIN)/dovision-report sweep=outputs/demo

photo: $(VENV)/.base ## what a network of ImageNet's classes uses of your own pictures, and its page: PHOTO=my.jpg, or a folder
	@test -n "$(PHOTO)" || { echo "PHOTO must name a picture or a folder of them: make photo PHOTO=my.jpg"; exit 1; }
	@$(CONSTRAINED) $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) --editable '.[lite0]'
	@$(BIN)/dovision-evaluate experiment=photo "dataset.root='$(subst ',\',$(PHOTO))'"
	@$(BIN)/dovision-report sweep=outputs/photo

test: $(VENV)/.dev ## the tests that take less than 0.8 seconds each, in two processes of one thread each
	@$(PYTEST) $(TWO) -m "not long"

test-fast: $(VENV)/.dev ## the tests that take less than 0.15 seconds each
	@$(PYTEST) $(TWO) -m "not slow and not browser and not long"

test-slow: $(VENV)/.dev ## all tests, timed: which are left to make test-long, and left out of make test-fast, in tests/long.txt and slow.txt
	@$(PYTEST) $(TWO) --record-slow

test-long: $(VENV)/.dev ## those that take longer: whole commands, killed workers, launchers, 400 jobs on a page
	@$(PYTEST) $(TWO) -m long

test-all: test test-long ## all tests

test-ray: ## the tests of the launcher of Ray, in an environment of its own: it needs other versions than constraints.txt
	@test -x .venv-ray/bin/python || $(PYTHON) -m venv .venv-ray
	@.venv-ray/bin/python -m pip install --quiet $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) --editable '.[launchers-ray,dev]'
	@OMP_NUM_THREADS=1 .venv-ray/bin/python -m pytest tests/jobs/test_launchers.py

# torch, torchvision and protobuf stay those of .venv: there is no CPU build of the lowest, and onnx, a test's, needs its protobuf
test-lowest: $(VENV)/.dev .venv-lowest/.layer ## the quick tests with the lowest versions that pyproject.toml admits, in .venv-lowest, which lies over .venv
	@.venv-lowest/bin/python -m pip install --quiet uv
	@.venv-lowest/bin/uv pip compile --quiet --python .venv-lowest/bin/python --resolution lowest-direct --no-header --no-annotate \
	  $(addprefix --extra ,$(LOWEST_EXTRAS)) --output-file .venv-lowest/all.txt pyproject.toml
	@grep -vE '^(torch|torchvision|triton|nvidia-.*|protobuf)==' .venv-lowest/all.txt > .venv-lowest/floors.txt
	@.venv-lowest/bin/uv pip install --quiet --python .venv-lowest/bin/python --no-deps --requirement .venv-lowest/floors.txt
	@OMP_NUM_THREADS=1 .venv-lowest/bin/python -m pytest $(TWO) -W ignore -m "not slow and not browser and not long"

test-next: $(VENV)/.dev .venv-next/.layer ## the quick tests, and a sweep, with pre-releases of Hydra and OmegaConf, in .venv-next, which lies over .venv
	@.venv-next/bin/python -m pip install --quiet --no-deps hydra-core==1.4.0rc3 omegaconf==2.4.1rc1
	@OMP_NUM_THREADS=1 .venv-next/bin/python -m pytest $(TWO) -m "not slow and not browser and not long"
	@OMP_NUM_THREADS=1 .venv-next/bin/python -m pytest tests/jobs/test_sweep.py -k alone_equals # a real sweep, which is slow

test-oracles: $(VENV)/.dev .venv-oracles/.layer ## interchange against nnsight and the sparse autoencoder against Overcomplete, in .venv-oracles, which lies over .venv
	@.venv-oracles/bin/python -m pip install --quiet --constraint constraints.txt --editable '.[oracles]'
	@OMP_NUM_THREADS=1 .venv-oracles/bin/python -m pytest -rs tests/interventions/test_against_nnsight.py tests/models/test_autoencoders.py

.venv-%/.layer: | $(VENV)/.dev
	@test -x .venv-$*/bin/python || $(BIN)/python -m venv .venv-$*
	@$(BIN)/python -c "import sysconfig; print('import site; site.addsitedir(%r)' % sysconfig.get_path('purelib'))" \
	  > $$(.venv-$*/bin/python -c "import sysconfig; print(sysconfig.get_path('purelib'))")/layer.pth
	@touch $@

check: $(VENV)/.dev ## style, types and layers
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python checks/house.py --strict

figures: $(addprefix experiment-,$(EXPERIMENTS)) ## the experiments on digits and on the phantom (only what is missing), their reports, the figures; -j 2: two at once
	@$(BIN)/python -m paper

experiment-%: $(VENV)/.base
	@$(BIN)/dovision-evaluate --config-dir paper/conf experiment=$* $(DATA)
	@$(BIN)/dovision-report sweep=outputs/$*

figures-check: $(VENV)/.base ## which figure differs from paper/figures.lock, and why: data, code or style
	@$(BIN)/python -m paper --check

format: $(VENV)/.dev ## put the code into its form
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format

bench: $(VENV)/.dev ## times against loops, captum, other runtimes and foolbox; BENCH=--quick for five minutes, hours in full
	@$(CONSTRAINED) --editable '.[bench]'
	@$(BIN)/python benchmarks/table.py $(BENCH)

chaos: $(VENV)/.dev ## every file operation of five commands fails, or is the last before a kill; hours, CHAOS="--sample 200" for minutes
	@$(BIN)/python checks/faults/exhaustive.py $(CHAOS)

tables: $(VENV)/.base ## the tables of components in docs/, after a change of conf/, and of results, after one of docs/results/
	@$(BIN)/python docs/component_tables.py
	@$(BIN)/python docs/results_tables.py

checks: $(VENV)/.dev ## programs that measure what tests do not, in checks/, but those of tests; CHECKS=--quick for a short form
	@for check in $(filter-out %/arcs.py %/mutants.py,$(wildcard checks/*.py)); do echo "$$check $(CHECKS)"; $(BIN)/python $$check $(CHECKS) || exit 1; done

coverage-check: $(VENV)/.dev ## what the intervals of nominal .95 cover, simulated; COVERAGE=--quick for a minute
	@$(BIN)/python checks/interval_coverage.py $(COVERAGE)

docs: $(VENV)/.docs ## the site, in docs/_build/html, without a network; a warning is an error
	@OMP_NUM_THREADS=1 $(BIN)/python -m sphinx -W --keep-going -q docs docs/_build/html
	@echo docs/_build/html/index.html

gallery: $(VENV)/.dev ## run the notebooks of the site again, and store what they print and draw; minutes
	@OMP_NUM_THREADS=1 $(BIN)/python docs/run_notebooks.py

links: $(VENV)/.docs ## follow the links of the site to other sites, which takes a network
	@$(BIN)/python -m sphinx -q -b linkcheck docs docs/_build/links

$(VENV)/.docs: $(VENV)/.dev hashes/docs.txt
	@$(HASHED) hashes/docs.txt
	@$(CONSTRAINED) --editable '.[docs]'
	@touch $@

hashes: $(VENV)/.docs ## hashes of the packages of constraints.txt, after that was changed
	@$(PIP) uv
	@$(BIN)/python hashes/update.py

wheel: $(VENV)/.dev ## a wheel and an sdist in dist/
	@$(BIN)/python -m build

clean: ## remove the environments and what was built; outputs/ stays
	rm -rf $(VENV) docs/_build .venv-ray .venv-lowest .venv-next .venv-oracles dist .benchmarks .pytest_cache .ruff_cache .mypy_cache .hypothesis .import_linter_cache
