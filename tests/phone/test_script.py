"""`benchmark.sh` with a stand-in for adb: what it asks of a phone, what it leaves, and what it refuses."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from keras_inception import export

from . import logs

ADB = Path(__file__).with_name("adb.sh")
THERE = "/data/local/tmp/keras_inception"


@pytest.fixture
def desk(kit: Path, tmp_path: Path) -> Path:
    """A folder with a kit, a program for it, and adb in bin/."""
    shutil.copytree(kit, tmp_path / "kit")
    (tmp_path / "kit" / "benchmark_model").write_text("an arm64 program")
    (tmp_path / "bin").mkdir()
    shutil.copy(ADB, tmp_path / "bin" / "adb")
    (tmp_path / "bin" / "adb").chmod(0o755)
    (tmp_path / "log").write_text(logs.LITERT_CPU)
    return tmp_path


def script(desk: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {
        "PATH": f"{desk / 'bin'}:/usr/bin:/bin",
        "ASKED": str(desk / "asked"),
        "LOG": str(desk / "log"),
    } | variables
    command = ["sh", str(desk / "kit" / "benchmark.sh"), *words]
    return subprocess.run(command, cwd=desk, env=environment, capture_output=True, text=True, timeout=60, check=False)


def commands(desk: Path) -> list[str]:
    """The command lines of benchmark_model, without what they have in common."""
    common = f"shell cd {THERE} && LD_LIBRARY_PATH={THERE} ADSP_LIBRARY_PATH={THERE} ./benchmark_model --graph={THERE}/"
    asked = (desk / "asked").read_text().splitlines()
    return [line.removeprefix(common).rstrip() for line in asked if line.startswith(common)]


def test_every_processor_is_timed_and_the_table_follows(desk: Path) -> None:
    done = script(desk, RUNS="50")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    counts = "--num_runs=50 --warmup_runs=5"
    assert commands(desk) == [
        f"int8.tflite --num_threads=1 {counts}",
        f"int8.tflite --num_threads=4 {counts}",
        f"float16.tflite --num_threads=4 {counts}",
        f"float16.tflite --num_threads=4 {counts} --use_gpu=true",
    ]
    asked = (desk / "asked").read_text()
    assert f"push ./benchmark_model {THERE}/benchmark_model" in asked
    for file in ("models/int8.tflite", "models/float16.tflite"):
        assert f"push {file} {THERE}/" in asked
    assert f"shell chmod 755 {THERE}/benchmark_model" in asked
    said = done.stdout.splitlines()
    assert said[0] == "Google Pixel 8a, Google Tensor G3, Android 16"
    assert said[-2] == "not on the NPU: NPU_LIBRARIES is not set (README.md)"
    assert said[-1] == f"the table: keras-inception benchmark {desk / 'kit'}"
    [results] = export.phone_results(desk / "kit")
    assert results.phone == said[0]
    timed = [(Path(t.path).name, t.accelerator, t.threads) for t in results.timings]
    assert timed == [
        ("float16.tflite", "cpu", 4),
        ("float16.tflite", "gpu", None),
        ("int8.tflite", "cpu", 1),
        ("int8.tflite", "cpu", 4),
    ]
    assert {t.milliseconds for t in results.timings} == {0.462}


def test_an_npu_with_its_libraries(desk: Path) -> None:
    (desk / "libraries").mkdir()
    (desk / "kit" / "benchmark_model").rename(desk / "nightly")
    done = script(desk, "nightly", NPU_LIBRARIES="libraries")
    assert done.returncode == 0, done.stderr
    paths = f"--dispatch_library_path={THERE} --compiler_plugin_library_path={THERE}"
    assert commands(desk)[-1] == f"int8.tflite --num_threads=4 --num_runs=100 --warmup_runs=10 --use_npu=true {paths}"
    asked = (desk / "asked").read_text()
    assert f"push {desk / 'nightly'} {THERE}/benchmark_model" in asked
    assert f"push {desk / 'libraries'}/. {THERE}/" in asked


def test_a_processor_that_fails_does_not_end_it(desk: Path) -> None:
    done = script(desk, FAILING="use_gpu")
    assert done.returncode == 0
    assert done.stderr == "failed: float16.tflite on the gpu: results/Google_Pixel_8a/float16-gpu.log says why\n"
    [results] = export.phone_results(desk / "kit")
    assert [t.problem for t in results.timings] == [None, "ERROR: Failed to compile model.", None, None]
    done = script(desk, FAILING="num_threads")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "error: no file could be timed: is ./benchmark_model made for this phone's arm64-v8a?"
    )


TWO = "a\\tdevice\\nb\\tdevice\\n"
LOCKED = {"PHONES": "a\\tunauthorized\\n", "STATE": "device unauthorized.\nThis adb server's $KEYS are not set"}
RUNS = "RUNS is how many images to time, 1 or more; got"
REFUSED = [
    ((), {"PHONES": ""}, "adb sees no phone: connect one, and allow USB debugging in its developer options"),
    ((), {"PHONES": TWO}, "adb sees 2 phones: set ANDROID_SERIAL to one of those that 'adb devices' lists"),
    (
        (),
        LOCKED,
        "the phone does not answer (error: device unauthorized.): unlock it, and allow debugging by this computer",
    ),
    (("no",), {}, "{desk}/no is not there: download LiteRT's benchmark_model for android_arm64, and give its path"),
    ((), {"RUNS": "many"}, f"{RUNS} 'many'"),
    ((), {"RUNS": "0"}, f"{RUNS} '0'"),
    ((), {"NPU_LIBRARIES": "no"}, "NPU_LIBRARIES={desk}/no is not a folder"),
]


@pytest.mark.parametrize(("words", "variables", "error"), REFUSED)
def test_what_cannot_be_done_is_said_in_one_line(desk: Path, words: tuple, variables: dict, error: str) -> None:
    done = script(desk, *words, **variables)
    assert done.returncode == 1
    assert done.stderr == f"error: {error.replace('{desk}', str(desk))}\n"
    assert not (desk / "kit" / "results").exists()


def test_one_of_several_phones(desk: Path) -> None:
    assert script(desk, PHONES=TWO, ANDROID_SERIAL="b").returncode == 0


def test_adb_is_not_there(desk: Path) -> None:
    (desk / "bin" / "adb").unlink()
    if shutil.which("adb", path="/usr/bin:/bin"):
        pytest.skip("adb is installed")
    done = script(desk)
    assert done.stderr == "error: adb is not installed: install Android's platform tools, which have it\n"


def test_shellcheck_finds_nothing() -> None:
    if not (checker := os.environ.get("PHONE_SHELLCHECK") or shutil.which("shellcheck")):
        pytest.skip("shellcheck is not installed: apt install shellcheck, or run `make test-phone`")
    script = Path(export.phone.__file__).with_name("kit") / "benchmark.sh"
    done = subprocess.run([checker, str(script), str(ADB)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
