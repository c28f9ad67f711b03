# make quickstart: from a fresh clone to a report about a real model; make test: the whole suite.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: quickstart test test-extras gguf-native install install-dev benchmarks docs sbom audit clean

quickstart: install
	$(BIN)/weightcut run quickstart --out runs/quickstart

test: install-dev
	$(BIN)/ruff check src tests benchmarks examples tools
	$(BIN)/ruff format --check src tests benchmarks examples tools
	$(BIN)/mypy
	$(BIN)/python -m pip check
	$(BIN)/python -m pytest -n 2 --dist loadfile

# The tests of the extras that are compiled for minutes; here what they need must be there.
test-extras: $(VENV)/installed-extras
	WEIGHTCUT_TEST_EXTRAS=1 $(BIN)/python -m pytest tests/extras \
	  tests/integration/engines/test_llama_cpp.py tests/integration/engines/test_onnxruntime.py \
	  tests/integration/compression/test_gguf.py tests/integration/compression/test_onnx.py \
	  tests/integration/compression/test_lora.py tests/integration/compression/test_reload.py

# A wheel of the index where there is one, else compiled as gguf-native does.
$(VENV)/installed-extras: $(VENV)/installed-dev
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --no-deps -c constraints.txt \
	  --only-binary llama-cpp-python llama-cpp-python || $(MAKE) gguf-native
	$(BIN)/python -m pip install --disable-pip-version-check --quiet -c constraints.txt \
	  -e '.[gguf,onnx,deepspeed]'
	touch $@

# llama.cpp for this very CPU, but for its AMX code, which GCC 12 turns into a crash (docs/engines.md).
NATIVE := -DGGML_NATIVE=ON -DLLAVA_BUILD=OFF \
  -DCMAKE_C_FLAGS=-U__AMX_INT8__ -DCMAKE_CXX_FLAGS=-U__AMX_INT8__

gguf-native: $(VENV)/installed
	CMAKE_ARGS="$(NATIVE)" $(BIN)/python -m pip install --disable-pip-version-check --no-cache-dir \
	  --force-reinstall --no-deps --no-binary llama-cpp-python -c constraints.txt llama-cpp-python
	$(BIN)/python -m pip install --disable-pip-version-check --quiet -c constraints.txt -e '.[gguf]'

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

# What the images hold (Dockerfile), and none of the developers' tools.
SHIPPED := build/shipped

$(SHIPPED)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(SHIPPED)
	$(SHIPPED)/bin/python -m pip install --disable-pip-version-check --quiet -c constraints.txt \
	  -e '.[compress,dashboard,serve]'
	touch $@

sbom: $(SHIPPED)/installed $(TOOLS)/installed
	$(TOOLS)/bin/cyclonedx-py environment $(SHIPPED)/bin/python --pyproject pyproject.toml \
	  --output-reproducible --output-file sbom.cdx.json
	@echo "wrote sbom.cdx.json"

audit: install $(TOOLS)/installed
	$(TOOLS)/bin/python tools/audit.py $(TOOLS)/bin/pip-audit constraints.txt

clean:
	rm -rf $(VENV) build site sbom.cdx.json src/*.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
