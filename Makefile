# Everything a developer runs. Each target makes the environment it needs.

PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
# constraints.txt pins every version, of the tools too: the same today and next year.
INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: demo test test-all lint parity test-mediapipe conformance-qat clean
.DEFAULT_GOAL := test

$(BIN)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) --upgrade pip
	$(INSTALL) --editable . --group dev
	touch $@

demo: $(BIN)/installed  ## the main job on real digits: train, export, verify every file
	rm -rf demo
	$(BIN)/keras-inception demo --out demo

test: $(BIN)/installed lint  ## the default suite
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow"

test-all: $(BIN)/installed lint  ## with the slow tests
	$(BIN)/python -m pytest -n 2 --dist worksteal

lint: $(BIN)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The reference implementations have an environment of their own: nothing here depends on them.
REFERENCE = .venv-reference
$(REFERENCE)/installed: tests/parity/requirements.txt tests/parity/requirements-no-deps.txt
	$(PYTHON) -m venv $(REFERENCE)
	$(REFERENCE)/bin/python -m pip install --quiet --disable-pip-version-check -r tests/parity/requirements.txt
	$(REFERENCE)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -r tests/parity/requirements-no-deps.txt
	touch $@

parity: $(BIN)/installed $(REFERENCE)/installed  ## logits beside the reference implementations, live
	$(BIN)/python -m tests.parity --reference-python $(REFERENCE)/bin/python

# MediaPipe too: as an app has it, without TensorFlow and without this package.
MEDIAPIPE = .venv-mediapipe
$(MEDIAPIPE)/installed: tests/mediapipe/requirements.txt
	$(PYTHON) -m venv $(MEDIAPIPE)
	$(MEDIAPIPE)/bin/python -m pip install --quiet --disable-pip-version-check -r tests/mediapipe/requirements.txt
	touch $@

test-mediapipe: $(BIN)/installed $(MEDIAPIPE)/installed  ## exported files in MediaPipe Tasks; wants libEGL and libGLES
	MEDIAPIPE_PYTHON=$(MEDIAPIPE)/bin/python $(BIN)/python -m pytest tests/mediapipe

conformance-qat: $(BIN)/installed  ## every network trained quantised and converted to int8; hours, and resumes
	$(BIN)/python -m tests.conformance.qat

clean:
	rm -rf $(VENV) $(REFERENCE) $(MEDIAPIPE) build dist *.egg-info demo
