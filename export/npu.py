"""A .tflite file compiled ahead of time for phones' NPUs, by LiteRT's compiler plugins and the vendors' SDKs."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from keras_inception.arguments import checked
from keras_inception.errors import InputError, first_line
from keras_inception.files import new_output
from keras_inception.terminal import quiet

from .tflite.flatbuffer import is_tflite, operators, parsed
from .tflite.mediapipe_metadata import read_labels, with_labels
from .tflite.npu import compiled

LITERT = "ai-edge-litert"
LOAD = "import ctypes, sys; ctypes.CDLL(sys.argv[1])"


@dataclass(frozen=True)
class Vendor:
    """A vendor's place in `ai_edge_litert.aot`, and its SDK.

    `backend` is its identifier there, `package` what pip installs, `library` a file in that package without which it
    cannot compile, and `site` where the package fetches the SDK from while it is installed, under the vendor's terms.
    """

    backend: str
    package: str
    library: str
    site: str


# The packages' setup.py has their sites and files. Samsung's SDK has no release of LiteRT's number.
VENDORS = {
    "qualcomm": Vendor(
        "qualcomm",
        "ai-edge-litert-sdk-qualcomm",
        "data/lib/x86_64-linux-clang/libQnnHtp.so",
        "softwarecenter.qualcomm.com",
    ),
    "mediatek": Vendor(
        "mediatek",
        "ai-edge-litert-sdk-mediatek",
        "data/*/host/lib/libneuron_adapter.so",
        "s3.ap-southeast-1.amazonaws.com/mediatek.neuropilot.com",
    ),
    "google_tensor": Vendor(
        "GOOGLE", "ai-edge-litert-sdk-google-tensor", "data/liblitert_plugin_compiler.so", "redirector.gvt1.com"
    ),
    "samsung": Vendor(
        "samsung",
        "ai-edge-litert-sdk-samsung-nightly",
        "data/lib/x86_64-linux/libgraph_wrapper.so",
        "soc-developer.semiconductor.samsung.com",
    ),
    "intel": Vendor(
        "intel_openvino",
        "ai-edge-litert-sdk-intel",
        "data/libopenvino_intel_npu_compiler_loader.so",
        "storage.openvinotoolkit.org",
    ),
}


@checked
def to_npu(file: str | Path, target: str, folder: str | Path | None = None, *, overwrite: bool = False) -> list[Path]:
    """Compile a .tflite file of any origin for the NPU of one chip, or of each chip of a vendor.

    Every chip becomes a file of its own, `int8_Qualcomm_SM8750.tflite` of `int8.tflite`: its NPU's program takes the
    place of the operators that the vendor's compiler accepts, and the others stay for the CPU. It runs on that chip
    only, in LiteRT's CompiledModel with the vendor's libraries; signature, input, output, metadata and labels are those
    of `file`. `doctor` says what is in it.

    The compilers are those of `ai_edge_litert.aot`, for Linux on x86-64, and each needs its vendor's SDK.

    Args:
        file: what to compile; int8 is what every vendor's NPU computes in.
        target: "qualcomm", "mediatek", "google_tensor", "samsung" or "intel", all chips that LiteRT knows of it; or one
            chip, "qualcomm:SM8750".
        folder: where the compiled files go; beside `file` by default.
        overwrite: replace files that exist, after all new ones are complete.

    Raises:
        InputError: an unknown target, an SDK or a part of it that is missing, a file that cannot be compiled, or a
            compiled file that exists or cannot be written; nothing is left.
    """
    file = Path(file)
    if not is_tflite(file):
        raise InputError(f"{file} is not a TFLite file: give one that to_tflite wrote, or anyone's")
    content = file.read_bytes()
    with parsed(file):
        if already := compiled(content):
            raise InputError(f"{file} was compiled already, {already}: give the .tflite file that it was made of")
        labels = read_labels(content)
    backends = chips(target)
    paths = [path_of(file, backend, Path(folder) if folder else file.parent) for backend in backends]
    with ExitStack() as stack:
        parts = [
            stack.enter_context(new_output(path, overwrite=overwrite, kind="TFLite file", is_kind=is_tflite))
            for path in paths
        ]
        for backend, part in zip(backends, parts, strict=True):
            program = _compiled(file, Counter(operators(content)), backend, part.with_name("work"))
            part.write_bytes(with_labels(program, labels) if labels else program)
    return paths


def path_of(file: Path, backend: Any, folder: Path) -> Path:
    """Where a file that is compiled for a chip goes: `int8_Qualcomm_SM8750.tflite`, as LiteRT's own tools name it."""
    return folder / f"{file.stem}{backend.target_id_suffix}.tflite"


def chips(target: str) -> list[Any]:
    """The backends of `ai_edge_litert.aot` for a target, one for each chip, after a check that they can compile.

    Raises:
        InputError: there is no such target, or what its compiler needs is missing.
    """
    name, _, chip = target.partition(":")
    if name not in VENDORS:
        raise InputError(
            f"unknown NPU {target!r}; give one of {', '.join(VENDORS)}, or one chip, as in qualcomm:SM8750"
        )
    vendor = VENDORS[name]
    known = _backends(vendor)
    found = [backend for backend in known if not chip or backend.soc_model.lower() == chip.lower()]
    if not found:
        there = ", ".join(backend.soc_model for backend in known)
        raise InputError(f"unknown chip {chip!r} of {name}; LiteRT {version(LITERT)} compiles for {there}")
    _need_plugin(name, found[0])  # first: no SDK helps a plugin that is broken
    _need_sdk(name, vendor)
    return found


def _backends(vendor: Vendor) -> list[Any]:
    try:
        from ai_edge_litert.aot import vendors  # noqa: F401 - registers all of them
        from ai_edge_litert.aot.vendors.import_vendor import import_vendor
    except ImportError as error:
        raise InputError(f"{LITERT} has no compilers for NPUs here ({error}): use Linux on x86-64") from error
    backend = import_vendor(vendor.backend)
    return list(backend.create({"backend_id": vendor.backend, "soc_model": "ALL"}).specialize())


def _need_plugin(name: str, backend: Any) -> None:
    """Check that LiteRT's part of a vendor's compiler is there and whole; what it lacks of the SDK does not count."""
    from ai_edge_litert.aot.core.common import get_resource

    place = getattr(sys.modules[type(backend).__module__], "COMPILER_PLUGIN_LIB_PATH", None)
    if place is None:
        return
    try:
        plugin = get_resource(place)
    except FileNotFoundError as error:
        raise InputError(f"{LITERT} has no compiler for {name} here, {place.name}: use Linux on x86-64") from error
    tried = subprocess.run([sys.executable, "-c", LOAD, str(plugin)], capture_output=True, text=True)
    said = (tried.stderr.strip().splitlines() or [""])[-1].rpartition(f"{plugin}: ")[2]
    if tried.returncode and "cannot open shared object file" not in said:
        raise InputError(
            f"{LITERT} {version(LITERT)} cannot compile for {name}: its {plugin.name} does not load ({said}); "
            "an SDK does not help, a later version may"
        )


def _need_sdk(name: str, vendor: Vendor) -> None:
    nightly = vendor.package.endswith("-nightly")
    requirement = vendor.package if nightly else f"{vendor.package}=={version(LITERT)}"
    module = importlib.util.find_spec(vendor.package.removesuffix("-nightly").replace("-", "_"))
    if module is None or module.origin is None:
        raise InputError(
            f"the compiler for {name} needs the vendor's SDK: pip install {requirement}, which downloads it from "
            f"{vendor.site} under the vendor's terms"
        )
    if not any(Path(module.origin).parent.glob(vendor.library)):
        raise InputError(
            f"{vendor.package} is installed without the SDK ({vendor.library} is not in it): its download from "
            f"{vendor.site} did not succeed; pip install --force-reinstall --no-cache-dir --no-deps {requirement}"
        )


def _compiled(file: Path, kinds: Counter[str], backend: Any, work: Path) -> bytes:
    """The file for one chip. `work` is a folder for what the compiler writes."""
    from ai_edge_litert.aot.aot_compile import aot_compile

    chip = f"{backend.soc_manufacturer} {backend.soc_model}"
    try:
        with quiet():
            [model] = aot_compile(str(file), work, backend.target, keep_going=False).models
    except (ValueError, NotImplementedError) as error:
        raise InputError(f"{file} could not be compiled for {chip}: {_why(error)}") from error
    content: bytes = model.model_bytes if model.in_memory else model.path.read_bytes()
    if compiled(content) is None:
        raise InputError(f"the NPU of {chip} takes none of the operators of {file}: {', '.join(kinds)}")
    return content


def _why(error: Exception) -> str:
    """What went wrong, from the log that LiteRT's tool leaves in the folder for temporary files; the log is deleted."""
    named = re.search(r"See (\S+\.error) for details", str(error))
    if named is None:
        return first_line(error)
    log = Path(named[1])
    lines = [line.strip("└ ") for line in log.read_text(encoding="utf-8", errors="replace").splitlines()]
    log.unlink()
    said = [line for line in lines if line and not re.match(r"INFO|WARNING|\[LITERT_TOOLS", line)]
    not_loaded = [line for line in said if re.search(r"(could not|cannot|failed to) load", line, re.IGNORECASE)]
    errors = [line for line in said if line.startswith("ERROR")]
    lines = not_loaded or errors or said or ["its compiler failed without a message"]
    return re.sub(r"^ERROR: (\[\S+\] )?", "", lines[0])[:300]
