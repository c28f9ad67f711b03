# make quickstart: from a fresh clone to a report about a real model; make test: the whole suite.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: quickstart test install install-dev benchmarks docs sbom audit clean

quickstart: install
	$(BIN)/weightcut run quickstart --out runs/quickstart

test: install-dev
	$(BIN)/ruff check src tests benchmarks examples tools
	$(BIN)/ruff format --check src tests benchmarks examples tools
	$(BIN)/mypy
	$(BIN)/python -m pip check
	$(BIN)/python -m pytest

install: $(VENV)/installed

# What the quickstart needs; the tests need every extra.
install-dev: $(VENV)/installed-dev

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check --quiet -c constraints.txt -e .
	touch $@

$(VENV)/installed-dev: $(VENV)/installed
	$(BIN)/python -m pip install --disable-pip-version-check --quiet -c constraints.txt -e '.[dev]'
	touch $@

benchmarks: install-dev
	$(BIN)/python benchmarks/all.py

# The site, as a folder that opens from a disk: site/index.html.
docs: install-dev
	$(BIN)/python tools/docs_reference.py
	$(BIN)/zensical build --strict --clean

# What an installation holds (CycloneDX), and which of it has known flaws. The tools have a folder of
# their own, so that they do not list themselves; the audit asks a database on the network.
TOOLS := build/tools

$(TOOLS)/installed: tools/requirements-audit.txt
	$(PYTHON) -m venv $(TOOLS)
	$(TOOLS)/bin/python -m pip install --disable-pip-version-check --quiet -r $<
	touch $@

sbom: install $(TOOLS)/installed
	$(TOOLS)/bin/cyclonedx-py environment $(BIN)/python --pyproject pyproject.toml --output-reproducible \
	  --output-file sbom.cdx.json
	@echo "wrote sbom.cdx.json"

audit: install $(TOOLS)/installed
	$(TOOLS)/bin/python tools/audit.py $(TOOLS)/bin/pip-audit constraints.txt

clean:
	rm -rf $(VENV) build site sbom.cdx.json src/*.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
