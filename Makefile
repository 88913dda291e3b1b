# make repro   the demo corpus from nothing to a report      make test            the tests
# make check   lint and the fast tests                        make test-portable   the tests, rounded as an old processor does
# make lint    ruff check, ruff format and mypy
# make fuzz    what damaged and hostile files do to the readers, 12 000 of them: make fuzz FUZZ="--seed 7"
# make update-yt-dlp   the newest yt-dlp: sites change every few weeks
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/installed

# One thread for each of two processes: more would only wait for each other, so those of tests that ask for two don't spin meanwhile. Files go out longest first (tests/conftest.py).
PYTEST := OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE PATH="$(CURDIR)/$(BIN):$$PATH" python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder

# New pins, without the address of any index; those that still fit stay. The extra beats is not among them: where beat-this is, rhythm
# may track music by it, with weights that must be fetched.
EXTRAS := $(foreach extra,download pose train baselines studio listen ray storage dev,--extra $(extra)) --group alone
LOCK := printf 'setuptools<81\nwheel\nninja\nuv==0.13.9\n' | $(BIN)/uv pip compile -q --universal --python-version 3.11 --no-header --no-annotate --no-emit-index-url $(EXTRAS) pyproject.toml - -o requirements.lock

# In one pass, and compiled, for where Python may write no bytecode each process would compile all it imports (6 of the 10 s that a
# stage takes to start). Then the project, as it lies here, for the command d2m.
SYNC := export VIRTUAL_ENV=$(CURDIR)/$(VENV); $(BIN)/uv pip sync --compile-bytecode requirements.lock && $(BIN)/uv pip install -q --no-deps --no-build-isolation --editable .

.PHONY: repro test check lint test-portable fuzz install lock update-yt-dlp clean

# DVC runs one stage at a time. The trainings are of one thread each (a second hardly helps networks so small), so that those
# that don't need each other go side by side, the longest first: SIDE of them, `make repro SIDE=1` for one after the other. The
# last dvc repro runs what is left.
SIDE ?= 2
ASIDE := xargs -r -P $(SIDE) -n 1 dvc --wait-for-lock repro --single-item
STAGES := dvc stage list --name-only | grep -E

repro: export PATH := $(CURDIR)/$(BIN):$(PATH)
repro: $(INSTALLED)
	dvc repro shards
	$(STAGES) '^(rhythm|vqvae)$$' | sort | $(ASIDE)
	$(STAGES) '^synthesizer@' | $(ASIDE)
	for these in d2m_gan@low d2m_gan@ baselines@cmt prior@ baselines@; do $(STAGES) "^$$these"; done | awk '!seen[$$0]++' | $(ASIDE)
	$(STAGES) '^generate@' | $(ASIDE)
	dvc repro
	python -m d2m_model.tables --compare

test: $(INSTALLED)
	$(PYTEST) $(TESTS)

check: lint
	$(PYTEST) -m "not slow" $(TESTS)

# Rules and format of all files, types of both packages.
lint: $(INSTALLED)
	$(BIN)/ruff check
	$(BIN)/ruff format --check -q
	$(BIN)/mypy

# Torch without vector instructions, the libraries of matrices as on processors of 2008: sums come in another order, and
# what held by rounding alone fails.
test-portable: $(INSTALLED)
	ATEN_CPU_CAPABILITY=default ONEDNN_MAX_CPU_ISA=SSE41 MKL_CBWR=COMPATIBLE OPENBLAS_CORETYPE=Nehalem $(PYTEST) $(TESTS)

fuzz: $(INSTALLED)
	OMP_NUM_THREADS=1 PATH="$(CURDIR)/$(BIN):$$PATH" python -m tests.fuzz $(FUZZ)

install: $(INSTALLED)

# uv installs the pins; openpifpaf's C++ decoder is then built against the torch just installed.
$(INSTALLED): requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "error: Python 3.11 or newer is needed, found " + sys.version.split()[0] + "; run make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --disable-pip-version-check uv==0.13.9
	$(SYNC)
	touch $@

# After a change of pyproject.toml's dependencies.
lock:
	$(LOCK)

# yt-dlp, the scripts that it runs for YouTube and the runtime that runs them; then the tests of what uses them.
update-yt-dlp: $(INSTALLED)
	$(LOCK) --upgrade-package yt-dlp --upgrade-package yt-dlp-ejs --upgrade-package deno
	$(SYNC)
	touch $(INSTALLED)
	$(PYTEST) tests/dataset_tools/download/test_download*.py

clean:
	rm -rf data runs
