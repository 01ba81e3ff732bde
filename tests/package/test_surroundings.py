"""Settings of Keras, of the environment and of the terminal that a user's machine has and a developer's has not."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from PIL import Image

import keras_inception
from keras_inception import InputError, export
from keras_inception.backend import check_backend, need_tensorflow
from keras_inception.data import from_arrays
from keras_inception.files import cache_directory
from keras_inception.preprocessing import scaled
from keras_inception.run import Run

LABELS = ("Käse", "猫 🐈", "<b>$x_1$</b>")


def python(*command: object, **environment: str | None) -> subprocess.CompletedProcess:
    """Run Python with variables changed; None unsets one."""
    changed = {k: v for k, v in (os.environ | environment).items() if v is not None}
    arguments = [sys.executable, *map(str, command)]
    return subprocess.run(arguments, capture_output=True, text=True, encoding="utf-8", env=changed, check=False)


# ------------------------------------------------------------------------------------------------------------- backend


@pytest.fixture
def not_imported(monkeypatch, tmp_path):
    """As if Keras were not imported yet, and its folder were empty."""
    monkeypatch.delitem(sys.modules, "keras")
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    return tmp_path / "keras.json"


@pytest.mark.parametrize("backend", ["numpy", "openvino", "nonsense"])
def test_another_backend_is_one_line(backend, not_imported, monkeypatch) -> None:
    check_backend()
    not_imported.write_text(json.dumps({"backend": backend}))
    wanted = "tensorflow, jax or torch"
    with pytest.raises(ImportError, match=rf'"backend" in {not_imported} is {backend}: change it to {wanted}'):
        check_backend()
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    check_backend()
    monkeypatch.setenv("KERAS_BACKEND", backend)
    with pytest.raises(ImportError, match=f"KERAS_BACKEND is {backend}: unset it, or set it to {wanted}") as raised:
        check_backend()
    assert "\n" not in str(raised.value)


def test_a_backend_that_was_imported_before_is_told(monkeypatch) -> None:
    monkeypatch.setenv("KERAS_BACKEND", "numpy")
    check_backend()  # set too late to count
    monkeypatch.setitem(sys.modules, "keras", SimpleNamespace(config=SimpleNamespace(backend=lambda: "openvino")))
    with pytest.raises(ImportError, match="Keras was imported before with openvino: set KERAS_BACKEND=tensorflow"):
        check_backend()


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_what_is_written_with_tensorflow_refuses_other_backends(backend, not_imported, monkeypatch) -> None:
    monkeypatch.setenv("KERAS_BACKEND", backend)
    check_backend()
    with pytest.raises(ImportError, match=f"x needs the backend tensorflow .*; KERAS_BACKEND is {backend}") as raised:
        need_tensorflow("x")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("room", ["data", "early_exit", "evaluation", "export", "run", "sharing", "training"])
def test_rooms_that_are_written_with_tensorflow(room) -> None:
    source = Path(find_spec(f"keras_inception.{room}").origin).read_text(encoding="utf-8")
    assert "\nneed_tensorflow(__name__)\n" in source


@pytest.mark.parametrize("content", ["", "[]", "{", '{"floatx": "float16"}'])
def test_a_broken_keras_json_is_left_to_keras(not_imported, content) -> None:
    not_imported.write_text(content)
    check_backend()


def test_the_command_line_refuses_before_keras_does(tmp_path) -> None:
    done = python("-m", "keras_inception", "models", KERAS_BACKEND="jax")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: keras_inception needs the backend tensorflow of Keras; KERAS_BACKEND is jax")
    assert done.stderr.count("\n") == 1
    (tmp_path / "keras.py").touch()
    done = python("-c", f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import keras_inception")
    assert done.stderr.splitlines()[-1].startswith(f"ImportError: {tmp_path / 'keras.py'} hides the package keras")


# ---------------------------------------------------------------------------------------------------- defaults of Keras


def images(n: int = 36):
    """Grey images of stripes across, stripes down, and noise."""
    pixels = np.random.default_rng(0).integers(0, 80, (n, 20, 20))
    pixels[0 : n // 3, ::4] += 150
    pixels[n // 3 : 2 * n // 3, :, ::4] += 150
    return from_arrays(pixels.astype(np.uint8), np.repeat(range(3), n // 3), LABELS)


@pytest.fixture(params=["channels_first", "float16"])
def setting(request):
    """A default of Keras, or of Keras 2, that a user has changed."""
    k2 = pytest.importorskip("tf_keras").backend
    before = keras.config.dtype_policy(), keras.config.floatx(), keras.config.epsilon()
    keras.config.set_epsilon(1e-3)
    if request.param == "channels_first":
        keras.config.set_image_data_format(request.param)
        k2.set_image_data_format(request.param)
    else:
        keras.config.set_dtype_policy(request.param)
        keras.config.set_floatx(request.param)
        k2.set_floatx(request.param)
    yield request.param
    keras.config.set_image_data_format("channels_last")
    k2.set_image_data_format("channels_last")
    keras.config.set_dtype_policy(before[0])
    keras.config.set_floatx(before[1])
    k2.set_floatx("float32")
    keras.config.set_epsilon(before[2])


def build(name: str, **arguments) -> keras.Model:
    keras.utils.set_random_seed(0)
    return getattr(keras_inception, name)(classes=3, **arguments)


def test_networks_are_right_whatever_keras_defaults_are(setting, tmp_path) -> None:
    """Built, rewritten, exported, and quantised in training by way of Keras 2."""
    model = build("ResNet20", input_shape=(32, 32, 3))
    assert {getattr(layer, "data_format", "channels_last") for layer in model.layers} == {"channels_last"}
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert {layer.epsilon for layer in norms} == {1e-5}  # its own numerics, not Keras' epsilon
    lenet, data = build("LeNet5"), images()
    x, y = (batch.numpy() for batch in next(iter(data.train.batches(scaled((32, 32), 1), 24))))
    np.testing.assert_allclose(export.optimize(lenet)(x), np.asarray(lenet(x), "float32"), atol=0.02)
    trained = export.quantize_aware(lenet, (x, y), tmp_path / "q.tflite", training=export.FineTuning(epochs=1))
    assert trained.agreement.n == 24
    assert keras.config.image_data_format() == ("channels_first" if setting == "channels_first" else "channels_last")


# ---------------------------------------------------------------------------------------------- folders and environment


def test_the_cache_is_where_the_user_says(monkeypatch, tmp_path) -> None:
    monkeypatch.delenv("KERAS_INCEPTION_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    assert cache_directory() == tmp_path / ".cache" / "keras_inception"
    monkeypatch.setenv("XDG_CACHE_HOME", "~/elsewhere")
    assert cache_directory() == tmp_path / "elsewhere" / "keras_inception"
    monkeypatch.setenv("KERAS_INCEPTION_HOME", "/mnt/cache")
    assert cache_directory() == Path("/mnt/cache")


def test_an_account_without_a_home(monkeypatch) -> None:
    """As `docker run --user 12345` gives it."""
    monkeypatch.delenv("KERAS_INCEPTION_HOME", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    with pytest.raises(InputError, match="no home folder to keep downloads and features in: set KERAS_INCEPTION_HOME"):
        cache_directory()


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    """A run of an untrained network whose path and labels are not ASCII."""
    path = tmp_path_factory.mktemp("runs") / "läuft 猫"
    path.mkdir()
    build("LeNet5").save(path / "model.keras")
    made = Run(builder="lenet5", kwargs={"classes": 3}, labels=LABELS, preprocessing=scaled((32, 32), 1), path=path)
    made.save()
    Image.fromarray(np.zeros((20, 20), np.uint8)).save(path.parent / "bïld.png")
    return made


def test_a_predict_where_nothing_can_be_written_and_nothing_is_set(run) -> None:
    """No home, a working directory that is gone, an output that has ASCII only, 0 columns."""
    file = run.path / "run.json"  # below which no folder can be made
    gone = run.path.parent / "gone"
    gone.mkdir()
    code = f"import os; os.chdir({str(gone)!r}); os.rmdir({str(gone)!r}); from keras_inception.cli import main; main()"
    done = python(
        *("-O", "-c", code, "predict", run.path, run.path.parent / "bïld.png"),
        HOME=str(file), KERAS_HOME=str(file / "x"), XDG_CACHE_HOME=str(file), MPLCONFIGDIR=str(file),
        TMPDIR="/nowhere", PYTHONIOENCODING="ascii", COLUMNS="0", TF_CPP_MIN_LOG_LEVEL="3",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert "b\\xefld.png   " in done.stdout
    assert "K\\xe4se " in done.stdout
    assert "\\u732b \\U0001f408 " in done.stdout


def test_labels_that_are_no_utf_8(run, tmp_path) -> None:
    """Python has the bytes that it cannot decode in a folder's name as surrogates."""
    made = Run(**vars(run) | {"labels": ("caf\udce9", "b"), "path": tmp_path})
    made.save()
    assert (tmp_path / "labels.txt").read_text(encoding="utf-8") == "caf\\udce9\nb\n"
    assert Run.load(tmp_path).labels == made.labels


def test_a_model_of_another_version_is_told_with_both(run, tmp_path) -> None:
    made = Run(**vars(run) | {"versions": run.versions | {"keras": "9.1.0"}, "path": tmp_path})
    made.save()
    (tmp_path / "model.keras").write_bytes((run.path / "model.keras").read_bytes()[:5000])
    here = run.versions["keras"]
    with pytest.raises(InputError, match=rf"it was written with keras 9\.1\.0 \(here {here}\): install these, or"):
        Run.load(tmp_path).model()
