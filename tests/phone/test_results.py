"""Real logs of `benchmark_model` become the table of `benchmark`."""

import json
import shutil
from pathlib import Path

import pytest

from keras_inception import cli, export
from keras_inception.errors import InputError

from . import logs


def log_of(kit: Path, text: str, accelerator: str, threads: int | None = None, *, phone: str = "Pixel 8a") -> Path:
    """Put a log where `benchmark.sh` does, with the same head."""
    file = "float16.tflite" if accelerator == "gpu" else "int8.tflite"
    folder = kit / "results" / phone.replace(" ", "_")
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / f"{file.removesuffix('.tflite')}-{accelerator}{threads or ''}.log"
    head = {
        "device": f"Google {phone}",
        "chip": "Google Tensor G3",
        "android": "16",
        "file": file,
        "accelerator": accelerator,
        "threads": threads or "",
    }
    log.write_text("".join(f"# {key}: {value}\n" for key, value in head.items()) + text + "# exit: 0\n")
    return log


@pytest.fixture
def own_kit(kit: Path, tmp_path: Path) -> Path:
    return shutil.copytree(kit, tmp_path / "kit")


def only(kit: Path) -> export.PhoneTiming:
    [results] = export.phone_results(kit)
    [timing] = results.timings
    return timing


def test_a_log_of_litert(own_kit: Path) -> None:
    log_of(own_kit, logs.LITERT_CPU, "cpu", 1)
    [results] = export.phone_results(own_kit)
    assert results.phone == "Google Pixel 8a, Google Tensor G3, Android 16"
    file = own_kit / "models/int8.tflite"
    assert results.timings == (
        export.PhoneTiming(
            path=str(file),
            accelerator="cpu",
            threads=1,
            format="tflite int8",
            bytes=file.stat().st_size,
            runs=2112,
            milliseconds=0.462,
            percentiles=(0.46, 0.478),
            initialization=4.478,
            memory=round(11.51 * 2**20),
            on_it=1,
            nodes=1,
        ),
    )


LOGCAT = (25, 141.253, (140.545, 187.533), 92.318, round(73.4102 * 2**20), 539, 548)


@pytest.mark.parametrize(
    ("text", "accelerator", "expected"),
    [
        (logs.TFLITE_GPU, "gpu", (50, 307.968, (306.372, 315.711), 5664.36, round(375.48 * 2**20), 49, 49)),
        (logs.TFLITE_OLD, "cpu", (50, 2950.34, None, 17.187, round(46.0859 * 2**20), None, None)),
        (logs.TFLITE_LOGCAT, "cpu", LOGCAT),
        (logs.TFLITE_LOGCAT.replace("\n", "\r\n"), "cpu", LOGCAT),
    ],
)
def test_logs_of_tensorflow_lite(own_kit: Path, text: str, accelerator: str, expected: tuple) -> None:
    log_of(own_kit, text, accelerator)
    t = only(own_kit)
    found = (t.runs, t.milliseconds, t.percentiles, t.initialization, t.memory, t.on_it, t.nodes)
    assert found == expected
    assert t.problem is None


@pytest.mark.parametrize(
    ("line", "accelerator", "on_it", "nodes"),
    [
        (logs.LITERT_GPU_LINE, "gpu", 246, 246),
        (logs.LITERT_NPU_LINE, "npu", 2, 3),
        ("", "gpu", 0, 1),  # LiteRT was asked for a GPU that it could not open
        ("", "npu", 0, 1),
    ],
)
def test_where_a_network_was_computed(own_kit: Path, line: str, accelerator: str, on_it: int, nodes: int) -> None:
    """XNNPACK's line is there too: what an accelerator leaves is the CPU's."""
    text = logs.LITERT_CPU.replace("VERBOSE: Replacing 1", f"{line and f'VERBOSE: {line}'}\nVERBOSE: Replacing 1")
    log_of(own_kit, text, accelerator)
    timing = only(own_kit)
    assert (timing.on_it, timing.nodes) == (on_it, nodes)


WARM, ENDED = logs.LITERT_CPU.partition("INFO: count=2112")[0], logs.LITERT_ENDED
COLD = WARM.partition("\nINFO: Running benchmark for at least 1000")[0]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (ENDED, ENDED.splitlines()[-1]),
        (WARM, WARM.splitlines()[-1]),
        (COLD, COLD.splitlines()[-1]),
        ("", "it ended without a message"),
    ],
)
def test_a_program_that_ended_early_measured_nothing(own_kit: Path, text: str, problem: str) -> None:
    """Its warm-up is no result."""
    log_of(own_kit, text, "npu")
    timing = only(own_kit)
    assert timing.problem == problem
    assert (timing.runs, timing.milliseconds, timing.memory) == (None, None, None)


def test_what_is_no_result_is_refused(own_kit: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a phone kit: give the folder that"):
        export.phone_results(tmp_path)
    with pytest.raises(InputError, match=r"has no results: connect a phone, and run sh .*benchmark\.sh"):
        export.phone_results(own_kit)
    log = log_of(own_kit, logs.LITERT_CPU, "cpu", 4)
    log.write_text(logs.LITERT_CPU)
    with pytest.raises(InputError, match=r"int8-cpu4\.log is not a log of benchmark\.sh"):
        export.phone_results(own_kit)
    log = log_of(own_kit, logs.LITERT_CPU, "cpu", 4)
    (own_kit / "models/int8.tflite").unlink()
    with pytest.raises(InputError, match=r"int8-cpu4\.log is not a log of benchmark\.sh"):
        export.phone_results(own_kit)


def test_a_kit_is_not_timed_beside_files(own_kit: Path) -> None:
    with pytest.raises(InputError, match="is a phone kit, whose results are read, not timed: give it alone"):
        cli.app(["benchmark", str(own_kit / "models/int8.tflite"), str(own_kit)], standalone_mode=False)


def test_the_command_shows_a_table_for_each_phone(own_kit: Path, capsys) -> None:
    log_of(own_kit, logs.LITERT_CPU, "cpu", 1)
    log_of(own_kit, logs.LITERT_CPU, "gpu")
    log_of(own_kit, logs.LITERT_ENDED, "npu")
    log_of(own_kit, logs.TFLITE_OLD, "cpu", 4, phone="Pixel 2")
    cli.app(["benchmark", str(own_kit)], standalone_mode=False)
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == "Google Pixel 2, Google Tensor G3, Android 16"
    assert "litert cpu, threads: 4" in lines[2]
    assert lines[3] == "Google Pixel 8a, Google Tensor G3, Android 16"
    assert lines[4].split() == (
        ["file", "runtime", "format", "ms", "5", "%", "to", "95", "%", "on", "it", "MB", "memory,", "MB"]
    )
    assert "0.462  0.46 to 0.478" in lines[6]
    assert lines[8].endswith("float16.tflite was asked of the gpu, but the CPU computed all of it")
    assert lines[9].endswith("Loading GPU accelerator(libLiteRtGpuAccelerator.so).")
    cli.app(["benchmark", str(own_kit), "--json"], standalone_mode=False)
    printed = json.loads(capsys.readouterr().out)
    assert [phone["timings"][0]["milliseconds"] for phone in printed] == [2950.34, 0.462]
