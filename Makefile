# What a developer runs. Each target creates the environment that it needs. `make help` lists the targets.

PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
# constraints.txt pins the version of every dependency and tool.
INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: help data demo test test-all test-oldest lint parity weights test-mediapipe test-web test-phone test-gpu test-arm64 test-ray test-beam test-spark docs site diagrams conformance long growth conformance-qat conformance-tflite conformance-runtimes conformance-backends runtimes servers scan applications clean starting steps distillation jit micro grouped predict server-int8 saved-model-int8 saved-model-memory calibration ptq target faults workers lock dist test-sdist matrix sbom audit claims which-network hostile small-weights
.DEFAULT_GOAL := test

$(BIN)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) --upgrade pip
	$(INSTALL) --editable . --group dev
	touch $@

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "make %-20s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(BIN)/installed  ## train on real handwritten digits, export five files, verify each: about 2 minutes
	rm -rf demo
	$(BIN)/keras-inception demo --out demo

test: $(BIN)/installed lint  ## lint, types and the default tests: about 20 minutes on 2 cores
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow"

test-all: $(BIN)/installed lint  ## the same with the slow tests: over an hour
	$(BIN)/python -m pytest -n 2 --dist worksteal

# The oldest supported versions, which are Colab's: Python 3.12 where there is one, the packages of constraints-oldest.txt.
# The tests are those that meet Keras' graph, files and layers, and the converters. versions.txt lists those that `make matrix`
# runs too, and pytest's options: deprecations are no errors, nor what Keras 3.10 says of the inputs of a network that it loads.
OLDEST = .venv-oldest
OLDEST_PYTHON ?= $(shell python3.12 -c "import sys; print(sys.executable)" 2>/dev/null || echo $(PYTHON))
OLDEST_TESTS = @tests/conformance/versions.txt $(addprefix tests/,package/test_outputs.py models/test_inception.py \
	conformance/test_serialization.py weights/test_own_files.py training/test_training.py training/test_callbacks.py \
	training/test_memory.py export/test_optimize.py export/test_tfmot_bridge.py)
$(OLDEST)/installed: pyproject.toml constraints-oldest.txt
	$(OLDEST_PYTHON) -m venv $(OLDEST)
	$(OLDEST)/bin/python -m pip install --quiet --disable-pip-version-check --upgrade pip
	$(OLDEST)/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints-oldest.txt \
		--editable ".[qat,tfds]" pytest pytest-xdist
	touch $@

test-oldest: $(OLDEST)/installed  ## the tests of networks, training and export with TensorFlow 2.19 and Keras 3.10
	$(OLDEST)/bin/python -m pytest -n 2 --dist worksteal $(OLDEST_TESTS)

# Tools that the package does not depend on: uv, cyclonedx-bom, pip-audit.
SUPPLY = .venv-supply
$(SUPPLY)/installed: tests/supply/requirements.txt
	$(PYTHON) -m venv $(SUPPLY)
	$(SUPPLY)/bin/python -m pip install --quiet --disable-pip-version-check -r tests/supply/requirements.txt
	touch $@

ENVIRONMENTS =
matrix: $(SUPPLY)/installed  ## the fast tests on Python 3.11 to 3.13 with the lowest and highest versions: over an hour; resumes; ENVIRONMENTS=3.13-nightly selects
	$(PYTHON) -m tests.conformance.versions --uv $(SUPPLY)/bin/uv $(ENVIRONMENTS)

lock: $(SUPPLY)/installed  ## write the hashes of the versions in constraints.txt to requirements-dev.lock
	$(SUPPLY)/bin/uv pip compile pyproject.toml --group dev --constraint constraints.txt --generate-hashes \
		--python-platform linux --python-version 3.11.5 --no-annotate --custom-compile-command "make lock" --quiet \
		--output-file requirements-dev.lock

dist: $(BIN)/installed  ## build the sdist and the wheel of HEAD into build/dist/: the same bytes every time
	rm -rf build/dist
	$(BIN)/python -m tests.supply.dist build/dist

# From the unpacked sdist alone: no git, and only what requirements-dev.lock has the hash of.
SDIST = build/sdist
test-sdist: dist $(SUPPLY)/installed  ## unpack the sdist, install it with requirements-dev.lock, run a part of its tests: 10 minutes
	rm -rf $(SDIST) && mkdir -p $(SDIST)
	tar -xzf build/dist/*.tar.gz -C $(SDIST) --strip-components 1
	$(SUPPLY)/bin/uv venv --quiet --python $(PYTHON) $(SDIST)/.venv
	VIRTUAL_ENV=$(SDIST)/.venv $(SUPPLY)/bin/uv pip install --quiet --require-hashes -r $(SDIST)/requirements-dev.lock
	VIRTUAL_ENV=$(SDIST)/.venv $(SUPPLY)/bin/uv pip install --quiet --no-deps --no-build-isolation --no-index --editable $(SDIST)
	cd $(SDIST) && .venv/bin/python -m pytest -n 2 -m "not slow" tests/package tests/supply tests/cli tests/docs/test_words.py \
		tests/docs/test_readme.py tests/conformance/test_versions.py tests/weights/test_own_files.py

# What a user installs: the wheel and what it needs, in the versions of constraints.txt.
WHEEL = .venv-wheel
sbom: dist $(SUPPLY)/installed  ## list what the wheel installs in CycloneDX's format, build/sbom.json
	$(SUPPLY)/bin/uv venv --quiet --clear --python $(PYTHON) $(WHEEL)
	VIRTUAL_ENV=$(WHEEL) $(SUPPLY)/bin/uv pip install --quiet --constraint constraints.txt build/dist/*.whl
	$(SUPPLY)/bin/cyclonedx-py environment --pyproject pyproject.toml --mc-type library --output-reproducible --validate \
		--output-file build/sbom.json $(WHEEL)/bin/python

ADVISORIES ?= build/advisories.zip
audit: $(BIN)/installed $(SUPPLY)/installed  ## look for the versions of requirements-dev.lock in a database of advisories, offline: ADVISORIES=FILE
	$(BIN)/python -m tests.supply.audit $(ADVISORIES) --pip-audit $(SUPPLY)/bin/pip-audit requirements-dev.lock

lint: $(BIN)/installed  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The reference implementations have their own environment. The package does not depend on them.
REFERENCE = .venv-reference
$(REFERENCE)/installed: tests/parity/requirements.txt tests/parity/requirements-no-deps.txt
	$(PYTHON) -m venv $(REFERENCE)
	$(REFERENCE)/bin/python -m pip install --quiet --disable-pip-version-check -r tests/parity/requirements.txt
	$(REFERENCE)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -r tests/parity/requirements-no-deps.txt
	touch $@

parity: $(BIN)/installed $(REFERENCE)/installed  ## compare logits with the reference implementations, run live
	$(BIN)/python -m tests.parity --reference-python $(REFERENCE)/bin/python

# Published weights: one environment has this package and all references, those for Keras 2 (on tf-keras) included.
WEIGHTS = .venv-weights
WEIGHTS_NEEDS = tests/parity/requirements-no-deps.txt tests/weights/requirements-no-deps.txt
$(WEIGHTS)/installed: pyproject.toml constraints.txt tests/parity/requirements.txt $(WEIGHTS_NEEDS)
	$(PYTHON) -m venv $(WEIGHTS)
	$(WEIGHTS)/bin/python -m pip install --quiet --disable-pip-version-check --upgrade pip
	$(WEIGHTS)/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt \
		--editable . --group dev --requirement tests/parity/requirements.txt
	$(WEIGHTS)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps $(addprefix -r ,$(WEIGHTS_NEEDS))
	touch $@

# TF-Slim works with TensorFlow 2.15 at most, which needs Python 3.11 or older. Its networks are not in its package.
SLIM = .venv-slim
SLIM_PYTHON ?= python3.11
SLIM_NETWORKS = $(SLIM)/models/research/slim
$(SLIM)/installed: tests/weights/requirements-slim.txt
	$(SLIM_PYTHON) -m venv $(SLIM)
	$(SLIM)/bin/python -m pip install --quiet --disable-pip-version-check -r tests/weights/requirements-slim.txt
	git clone --quiet --depth 1 --filter=blob:none --sparse https://github.com/tensorflow/models $(SLIM)/models
	git -C $(SLIM)/models sparse-checkout set research/slim/nets
	touch $@

# Caffe's networks are the authors' prototxts, which OpenCV runs.
CAFFE = .venv-caffe
$(CAFFE)/installed: tests/weights/requirements-caffe.txt
	$(PYTHON) -m venv $(CAFFE)
	$(CAFFE)/bin/python -m pip install --quiet --disable-pip-version-check -r tests/weights/requirements-caffe.txt
	$(CAFFE)/bin/python -m tests.weights.caffe_reference $(CAFFE)/networks
	touch $@

K =
weights: $(WEIGHTS)/installed $(SLIM)/installed $(CAFFE)/installed  ## compare every published layout with its reference: over an hour; K=timm-resnet selects some
	PYTHONPATH=$(SLIM_NETWORKS) CAFFE_NETWORKS=$(CAFFE)/networks $(WEIGHTS)/bin/python -m tests.weights -k "$(K)" \
		--slim-python $(SLIM)/bin/python --caffe-python $(CAFFE)/bin/python

# MediaPipe runs as in an app, without TensorFlow and without this package.
MEDIAPIPE = .venv-mediapipe
$(MEDIAPIPE)/installed: tests/mediapipe/requirements.txt
	$(PYTHON) -m venv $(MEDIAPIPE)
	$(MEDIAPIPE)/bin/python -m pip install --quiet --disable-pip-version-check -r tests/mediapipe/requirements.txt
	touch $@

test-mediapipe: $(BIN)/installed $(MEDIAPIPE)/installed  ## run exported files in MediaPipe Tasks; needs libEGL and libGLES
	MEDIAPIPE_PYTHON=$(MEDIAPIPE)/bin/python $(BIN)/python -m pytest tests/mediapipe

# The web page in Chromium, with LiteRT.js and MediaPipe as npm installs them.
WEB = .venv-web
$(WEB)/installed: tests/web/requirements.txt tests/web/package.json
	$(PYTHON) -m venv $(WEB)
	$(WEB)/bin/python -m pip install --quiet --disable-pip-version-check -r tests/web/requirements.txt
	cp tests/web/package.json $(WEB)/package.json
	cd $(WEB) && npm install --no-audit --no-fund --ignore-scripts
	touch $@

test-web: $(BIN)/installed $(WEB)/installed  ## classify photographs by the web page in headless Chromium; pictures in build/web/
	WEB_PYTHON=$(WEB)/bin/python WEB_NPM=$(WEB)/node_modules $(BIN)/python -m pytest tests/web

# LiteRT's GPU accelerator on the software adapter for Vulkan that Debian's Chromium has.
ADAPTER ?= /usr/lib/chromium/vk_swiftshader_icd.json

test-gpu: $(BIN)/installed  ## run exported files by LiteRT's GPU accelerator; needs libvulkan1 and a GPU, or chromium's software adapter
	VK_ICD_FILENAMES=$(ADAPTER) $(BIN)/python -m pytest tests/export/test_gpu.py

# The phone kit's apps: Kotlin's compiler from npm, and what checks the rest from pip. Stubs stand for the libraries.
PHONE = .venv-phone
$(PHONE)/installed: tests/phone/requirements.txt tests/phone/package.json
	$(PYTHON) -m venv $(PHONE)
	$(PHONE)/bin/python -m pip install --quiet --disable-pip-version-check -r tests/phone/requirements.txt
	cp tests/phone/package.json $(PHONE)/package.json
	cd $(PHONE) && npm install --no-audit --no-fund --ignore-scripts
	touch $@

test-phone: $(BIN)/installed $(PHONE)/installed  ## compile the Android app against stubs, check the iOS app's syntax; needs a JDK
	PHONE_PYTHON=$(abspath $(PHONE)/bin/python) PHONE_KOTLIN=$(abspath $(PHONE))/node_modules/kotlin-compiler \
		PHONE_SHELLCHECK=$(abspath $(PHONE)/bin/shellcheck) $(BIN)/python -m pytest tests/phone

RAY = .venv-ray
$(RAY)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(RAY)
	$(RAY)/bin/python -m pip install --quiet --disable-pip-version-check --upgrade pip
	$(RAY)/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt \
		--editable ".[ray]" pytest
	touch $@

test-ray: $(RAY)/installed  ## tables of answers by the workers of a local Ray cluster, one of them killed
	$(RAY)/bin/python -m pytest tests/ray -W ignore::DeprecationWarning

# Without constraints.txt, which has newer versions of what Beam has upper bounds for.
BEAM = .venv-beam
$(BEAM)/installed: pyproject.toml
	$(PYTHON) -m venv $(BEAM)
	$(BEAM)/bin/python -m pip install --quiet --disable-pip-version-check --upgrade pip
	$(BEAM)/bin/python -m pip install --quiet --disable-pip-version-check --editable . "apache-beam>=2.77,<2.78" pytest
	touch $@

test-beam: $(BEAM)/installed  ## the Beam job of docs/howto/pipelines.md on Beam's local runner
	$(BEAM)/bin/python -m pytest tests/pipelines -k beam -W ignore::DeprecationWarning

SPARK = .venv-spark
$(SPARK)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(SPARK)
	$(SPARK)/bin/python -m pip install --quiet --disable-pip-version-check --upgrade pip
	$(SPARK)/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt \
		--editable . "pyspark[sql]>=4.3,<4.4" pytest
	touch $@

test-spark: $(SPARK)/installed  ## the Spark job of docs/howto/pipelines.md on this machine; needs Java 17
	$(SPARK)/bin/python -m pytest tests/pipelines -k spark -W ignore::DeprecationWarning

# A phone's kernels, under emulation: apt and pip fetch Python and LiteRT for arm64.
ARM64 = .venv-arm64
$(ARM64)/python: tests/arm64/environment.sh | $(BIN)/installed
	sh tests/arm64/environment.sh $(ARM64) $(abspath $(BIN)/python)

test-arm64: $(BIN)/installed $(ARM64)/python  ## run exported files on arm64 kernels under QEMU; needs qemu-user-static
	ARM64_PYTHON=$(abspath $(ARM64)/python) $(BIN)/python -m pytest tests/arm64 -n 2

starting: $(BIN)/installed  ## time what happens before anything does: --help, the import, building a network: minutes
	$(BIN)/python benchmarks/starting.py

grouped: $(BIN)/installed  ## forms of grouped 1x1 convolutions in int8 on a GPU, and their price on the CPU: minutes
	VK_ICD_FILENAMES=$(ADAPTER) $(BIN)/python benchmarks/grouped.py

MICRO = .venv-micro
$(MICRO)/installed:
	$(PYTHON) -m venv $(MICRO)
	$(MICRO)/bin/python -m pip install --quiet --disable-pip-version-check --pre tflite-micro
	touch $@

micro: $(BIN)/installed $(MICRO)/installed  ## flash and RAM of small networks on TensorFlow Lite Micro: 5 minutes
	$(BIN)/python benchmarks/micro.py --micro-python $(MICRO)/bin/python

QUANTIZER = .venv-quantizer
$(QUANTIZER)/installed:
	$(PYTHON) -m venv $(QUANTIZER)
	$(QUANTIZER)/bin/python -m pip install --quiet --disable-pip-version-check ai-edge-quantizer==0.10.0 ai-edge-litert==2.3.0
	touch $@

small-weights: $(BIN)/installed $(QUANTIZER)/installed  ## weights in 4 and 8 bits by AI Edge Quantizer: a quarter of an hour; needs KERAS_INCEPTION_DATA
	$(BIN)/python benchmarks/small_weights.py --quantizer-python $(QUANTIZER)/bin/python

docs: $(BIN)/installed  ## build the documentation site, build/site/index.html; warnings are errors
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs build/site

site: $(BIN)/installed $(WEB)/installed demo  ## the site, with the demo's page in it, live
	rm -rf build/live && mkdir -p build/live
	$(BIN)/keras-inception web demo --out build/live/page --title "Handwritten digits" \
		--runtime $(WEB)/node_modules/@litertjs/core
	$(MAKE) docs

diagrams: $(BIN)/installed  ## renew the generated pages and the diagrams of docs/
	$(BIN)/python -m docs.generate --diagrams

claims: $(BIN)/installed  ## compare published numbers with what the code gives, docs/claims.md: a minute
	$(BIN)/python -m docs.claims

which-network: $(BIN)/installed  ## time an int8 file of each family, and draw accuracy against cost: an hour; resumes
	$(BIN)/python benchmarks/which_network.py make build/which_network
	$(BIN)/python benchmarks/which_network.py time build/which_network
	$(BIN)/python -m docs.which_network

servers: $(BIN)/installed  ## run exported SavedModels in older versions of TensorFlow: minutes, and 600 MB for each
	$(BIN)/python benchmarks/servers.py

conformance-qat: $(BIN)/installed  ## train every network quantised and convert it to int8: hours; resumes
	$(BIN)/python -m tests.conformance.qat

conformance-tflite: $(BIN)/installed  ## convert every network to .tflite, float32 and int8: hours; resumes
	$(BIN)/python -m tests.conformance.tflite

# Every runtime of the other targets, and those of the package's extras.
EXPORTS = .venv-exports
$(EXPORTS)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(EXPORTS)
	$(EXPORTS)/bin/python -m pip install --quiet --disable-pip-version-check --upgrade pip
	$(EXPORTS)/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt \
		--editable ".[onnx,openvino]" --group dev
	touch $@

conformance: $(EXPORTS)/installed  ## run every test of tests/conformance on every network: hours; resumes
	$(EXPORTS)/bin/python -m tests.conformance

long: $(EXPORTS)/installed  ## build, optimise and export the largest networks in at most 12 GB: hours; resumes
	$(EXPORTS)/bin/python -m tests.long.large

growth: $(BIN)/installed  ## whether memory grows over many training steps, predictions and exports: a quarter of an hour
	$(BIN)/python -m tests.long.growth

conformance-runtimes: $(EXPORTS)/installed $(MEDIAPIPE)/installed $(WEB)/installed $(ARM64)/python  ## run exported files of every network in every runtime: hours; resumes
	VK_ICD_FILENAMES=$(ADAPTER) ARM64_PYTHON=$(abspath $(ARM64)/python) MEDIAPIPE_PYTHON=$(MEDIAPIPE)/bin/python \
		WEB_PYTHON=$(WEB)/bin/python WEB_NPM=$(WEB)/node_modules $(EXPORTS)/bin/python -m tests.conformance.runtimes

BACKENDS = .venv-backends
$(BACKENDS)/installed: pyproject.toml constraints.txt tests/conformance/requirements-backends.txt
	$(PYTHON) -m venv $(BACKENDS)
	$(BACKENDS)/bin/python -m pip install --quiet --disable-pip-version-check --upgrade pip
	$(BACKENDS)/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt \
		--editable . --group dev --requirement tests/conformance/requirements-backends.txt
	touch $@

conformance-backends: $(BACKENDS)/installed  ## compare every network under Keras' JAX and PyTorch backends with TensorFlow: hours; resumes
	$(BACKENDS)/bin/python -m tests.conformance.backends

runtimes: $(BIN)/installed  ## run small exported files in older TFLite and LiteRT runtimes: half an hour; resumes
	$(BIN)/python benchmarks/runtimes.py build/runtimes

data: $(BIN)/installed  ## images a second beside Keras' loader: a quarter of an hour
	$(BIN)/python benchmarks/data.py

predict: $(BIN)/installed  ## images a second of predict --out beside the runtimes' own: ten minutes; needs KERAS_INCEPTION_DATA
	$(BIN)/python benchmarks/predict.py

server-int8: $(EXPORTS)/installed  ## time int8 files of every format, and what ONNX Runtime's and OpenVINO's keep: twenty minutes; needs KERAS_INCEPTION_DATA
	TF_CPP_MIN_LOG_LEVEL=3 $(EXPORTS)/bin/python benchmarks/server_int8.py

saved-model-int8: $(BIN)/installed  ## time SavedModels in int8 and bfloat16, and what they keep: half an hour; resumes; needs KERAS_INCEPTION_DATA
	TF_ENABLE_ONEDNN_OPTS=1 TF_CPP_MIN_LOG_LEVEL=3 $(BIN)/python benchmarks/saved_model_int8.py build/saved_model_int8

saved-model-memory: $(BIN)/installed  ## memory and time of SavedModels by how their weights are stored: a quarter of an hour
	TF_CPP_MIN_LOG_LEVEL=3 $(BIN)/python benchmarks/saved_model_memory.py

calibration: $(BIN)/installed  ## how many images calibrate an int8 file, and which: ten minutes; needs KERAS_INCEPTION_DATA
	$(BIN)/python benchmarks/calibration.py

ptq: $(BIN)/installed  ## methods of quantising after training, each alone and together: hours; needs KERAS_INCEPTION_DATA; resumes
	$(BIN)/python benchmarks/ptq.py build/ptq

target: $(BIN)/installed  ## search int8 files that keep a target: an hour; needs KERAS_INCEPTION_DATA; resumes
	$(BIN)/python benchmarks/target.py build/ptq

scan: $(BIN)/installed  ## time scans of up to a million files: a quarter of an hour, and 5 GB of disk
	$(BIN)/python benchmarks/scan.py

faults: $(BIN)/installed  ## disturb commands at random moments: kill, fill the disk, take an image away; hours; resumes
	$(BIN)/python -m tests.faults

hostile: $(BIN)/installed  ## hostile and broken input, all cases and 10,000 mutations of a .tflite file: about an hour
	$(BIN)/python -m pytest tests/hostile

workers: $(BIN)/installed  ## the tests of several workers ten times, and images a second by workers: over an hour
	$(BIN)/python benchmarks/workers.py

steps: $(BIN)/installed  ## time training epochs against a bare compiled step: minutes
	$(BIN)/python benchmarks/steps.py

distillation: $(BIN)/installed  ## a small network with and without a teacher: half an hour; needs KERAS_INCEPTION_DATA; resumes
	$(BIN)/python benchmarks/distillation.py measure
	$(BIN)/python benchmarks/distillation.py report

jit: $(BIN)/installed  ## time training steps that XLA compiles against the same without: half an hour
	$(BIN)/python benchmarks/jit.py

applications: $(BIN)/installed  ## export every network of keras.applications: hours; resumes
	$(BIN)/python benchmarks/applications.py

clean:  ## remove the environments and what was built
	rm -rf $(VENV) $(OLDEST) $(REFERENCE) $(WEIGHTS) $(SLIM) $(CAFFE) $(MEDIAPIPE) $(WEB) $(PHONE) $(ARM64) $(RAY) $(BEAM) $(SPARK) $(EXPORTS) $(MICRO) $(QUANTIZER) $(SUPPLY) $(WHEEL) .venv-matrix .venv-runtimes build dist *.egg-info demo
