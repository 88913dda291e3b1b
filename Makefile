# make repro   the demo corpus from nothing to a report      make test   the tests
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/installed

.PHONY: repro test install lock clean

repro: $(INSTALLED)
	PATH="$(CURDIR)/$(BIN):$$PATH" dvc repro
	$(BIN)/python -m d2m_model.tables --compare

test: $(INSTALLED)
	PATH="$(CURDIR)/$(BIN):$$PATH" python -m pytest -q -n 2 --dist loadfile $(TESTS)

install: $(INSTALLED)

# uv installs the pins in one pass; openpifpaf's C++ decoder is then built against the torch just installed.
$(INSTALLED): requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "error: Python 3.11 or newer is needed, found " + sys.version.split()[0] + "; run make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --disable-pip-version-check uv==0.13.9
	VIRTUAL_ENV=$(CURDIR)/$(VENV) $(BIN)/uv pip sync requirements.lock
	touch $@

# After a change of pyproject.toml's dependencies: new pins, without the address of any index.
lock:
	printf 'setuptools<81\nwheel\nninja\nuv==0.13.9\n' | $(BIN)/uv pip compile -q --universal --python-version 3.11 --no-header --no-annotate --no-emit-index-url --extra dev pyproject.toml - -o requirements.lock

clean:
	rm -rf data runs
