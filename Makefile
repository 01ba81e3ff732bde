# Everything a developer runs. Each target makes the environment it needs.

PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
# constraints.txt pins every version, of the tools too: the same today and next year.
INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: demo test test-all lint parity weights test-mediapipe docs diagrams conformance-qat conformance-tflite clean
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

# Published weights: one Python has this package and all references, those of Keras 2 too, which run on tf-keras.
WEIGHTS = .venv-weights
WEIGHTS_NEEDS = tests/parity/requirements-no-deps.txt tests/weights/requirements-no-deps.txt
$(WEIGHTS)/installed: pyproject.toml constraints.txt tests/parity/requirements.txt $(WEIGHTS_NEEDS)
	$(PYTHON) -m venv $(WEIGHTS)
	$(WEIGHTS)/bin/python -m pip install --quiet --disable-pip-version-check --upgrade pip
	$(WEIGHTS)/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt \
		--editable . --group dev --requirement tests/parity/requirements.txt
	$(WEIGHTS)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps $(addprefix -r ,$(WEIGHTS_NEEDS))
	touch $@

K =
weights: $(WEIGHTS)/installed  ## every published layout beside its reference, live: over an hour; K=timm-resnet for some
	$(WEIGHTS)/bin/python -m tests.weights -k "$(K)"

# MediaPipe too: as an app has it, without TensorFlow and without this package.
MEDIAPIPE = .venv-mediapipe
$(MEDIAPIPE)/installed: tests/mediapipe/requirements.txt
	$(PYTHON) -m venv $(MEDIAPIPE)
	$(MEDIAPIPE)/bin/python -m pip install --quiet --disable-pip-version-check -r tests/mediapipe/requirements.txt
	touch $@

test-mediapipe: $(BIN)/installed $(MEDIAPIPE)/installed  ## exported files in MediaPipe Tasks; wants libEGL and libGLES
	MEDIAPIPE_PYTHON=$(MEDIAPIPE)/bin/python $(BIN)/python -m pytest tests/mediapipe

docs: $(BIN)/installed  ## the documentation site, build/site/index.html; a warning fails it
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs build/site

diagrams: $(BIN)/installed  ## the generated pages of docs/, and the diagrams in them
	$(BIN)/python -m docs.generate --diagrams

conformance-qat: $(BIN)/installed  ## every network trained quantised and converted to int8; hours, and resumes
	$(BIN)/python -m tests.conformance.qat

conformance-tflite: $(BIN)/installed  ## every network optimised and as .tflite, float32 and int8; hours, and resumes
	$(BIN)/python -m tests.conformance.tflite

clean:
	rm -rf $(VENV) $(REFERENCE) $(WEIGHTS) $(MEDIAPIPE) build dist *.egg-info demo
