"""Read a checkpoint of TensorFlow 1: a file of 2016 (`x.ckpt`), or an `x.ckpt.index` with its `x.ckpt.data-...`.

TensorFlow's own reader is used, which compares checksums. Of each variable its moving average is taken where there is
one; what an optimizer keeps beside the variables is left out.
"""

from __future__ import annotations

import math
import re
import shutil
import tarfile
import tempfile
from collections.abc import Mapping
from glob import escape
from pathlib import Path, PurePosixPath

import numpy as np
import tensorflow as tf

from ..errors import InputError, first_line

ARCHIVES = (".tar.gz", ".tgz")
GRAPH = ".pb"
INDEX = ".index"
MAGIC = bytes.fromhex("57fb808b247547db")  # ends the table that an `.index`, or a file of 2016, is
AVERAGE = "/ExponentialMovingAverage"
COUNTER = re.compile(r"(.*/)?(global_step|beta[12]_power)")
OBJECTS = "_CHECKPOINTABLE_OBJECT_GRAPH"  # in a checkpoint of TensorFlow 2
PART = re.compile(r"(.+)\.(index|data-\d{5}-of-\d{5})")


def checkpoint_at(path: Path) -> Path | None:
    """The file that lists the variables of the checkpoint at a path: its `.index`, or the file of 2016.

    The path is a prefix, a file of the checkpoint, or its folder. None if no checkpoint is there.

    Raises:
        InputError: the folder has several checkpoints, and no file `checkpoint` that says which is the last.
    """
    if path.is_dir():
        found = sorted({lists for file in path.iterdir() if file.is_file() and (lists := checkpoint_at(file))})
        if len(found) > 1 and (latest := tf.train.latest_checkpoint(str(path))):
            return checkpoint_at(Path(latest))
        if len(found) > 1:
            names = ", ".join(_prefix(file).name for file in found)
            raise InputError(f"{path} has {len(found)} checkpoints; give one: {names}")
        return found[0] if found else None
    if part := PART.fullmatch(path.name):
        return path.with_name(f"{part[1]}{INDEX}")
    index = path.with_name(f"{path.name}{INDEX}")
    return index if index.is_file() else path if _is_table(path) else None


def read_checkpoint(path: Path, largest: int) -> dict[str, np.ndarray]:
    """The variables of a checkpoint, given by the file that lists them; those of an optimizer are left out.

    Raises:
        InputError: it is incomplete or damaged, has more than `largest` bytes, or is one of TensorFlow 2.
    """
    prefix = _prefix(path)
    try:
        reader = tf.train.load_checkpoint(str(prefix))
        shapes, types = reader.get_variable_to_shape_map(), reader.get_variable_to_dtype_map()
        if OBJECTS in shapes:
            raise InputError(
                f"{prefix} is a checkpoint of TensorFlow 2, which names objects and not layers: load it into its "
                "network, and call save_weights('NAME.weights.h5')"
            )
        names = variables(shapes)
        size = sum(math.prod(shapes[name]) * types[name].size for name in names.values())
        stored = sum(file.stat().st_size for file in path.parent.glob(f"{escape(prefix.name)}.data-*"))
        if size > largest or (path != prefix and size > stored):  # a file of 2016 may be compressed
            raise ValueError(f"its tensors are stated to have {size:,} bytes")
        return {ours: _array(reader.get_tensor(theirs)) for ours, theirs in names.items()}
    except (tf.errors.OpError, OSError, ValueError, RuntimeError, TypeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{prefix} is not a complete TensorFlow checkpoint: {first_line(error)}") from error


def variables(names: Mapping[str, object]) -> dict[str, str]:
    """The names of the weights among those of a checkpoint: name of a variable -> what is read for it."""
    averages = {name.removesuffix(AVERAGE): name for name in names if name.endswith(AVERAGE)}
    known = {*names, *averages}
    return {
        name: averages.get(name, name)
        for name in sorted(known)  # a slot, "conv/weights/Momentum", is named as part of its variable
        if name.rpartition("/")[0] not in known and not COUNTER.fullmatch(name)
    }


def read_graph(path: Path) -> dict[str, np.ndarray]:
    """The variables of a frozen graph (`.pb`): the constants that took the places of variables.

    Raises:
        InputError: it is no graph.
    """
    graph = tf.compat.v1.GraphDef()
    try:
        graph.ParseFromString(path.read_bytes())
        read = {node.input[0] for node in graph.node if node.op == "Identity" and node.name == f"{node.input[0]}/read"}
        frozen = [node for node in graph.node if node.op == "Const" and node.name in read]
        return {node.name: _array(tf.make_ndarray(node.attr["value"].tensor)) for node in frozen}
    except Exception as error:  # whatever a file of another kind raises as a protocol buffer
        raise InputError(f"{path} is not a frozen graph of TensorFlow: {first_line(error)}") from error


def read_archive(path: Path, largest: int) -> dict[str, np.ndarray]:
    """The variables of the checkpoint in a `.tar.gz`; of the archive only the checkpoint's files are unpacked.

    Raises:
        InputError: the archive is damaged, or does not hold one checkpoint.
    """
    with tempfile.TemporaryDirectory() as folder:
        try:
            with tarfile.open(path, "r:gz") as archive:
                left = largest
                for member in archive:
                    name = PurePosixPath(member.name).name  # without the folders, so that none is left
                    if not member.isfile() or not re.search(r"\.ckpt(-\d+)?(\.(index|data-\d+-of-\d+))?$", name):
                        continue
                    if (left := left - member.size) < 0:
                        raise InputError(f"{path} unpacks to more than {largest:,} bytes, which are not read")
                    with open(Path(folder, name), "xb") as file:
                        shutil.copyfileobj(archive.extractfile(member), file)  # type: ignore[arg-type]
        except (tarfile.TarError, EOFError, OSError) as error:
            raise InputError(f"{path} is not a complete tar.gz file: {first_line(error)}") from error
        if (inside := checkpoint_at(Path(folder))) is None:
            raise InputError(f"{path} holds no TensorFlow checkpoint")
        try:
            return read_checkpoint(inside, largest)
        except InputError as error:
            raise InputError(f"{path}: {str(error).replace(f'{folder}/', '')}") from error


# ---------------------------------------------------------------------------------------------------------- internals


def _prefix(path: Path) -> Path:
    """What TensorFlow calls the checkpoint of a file that `checkpoint_at` gives."""
    return path.with_name(path.name.removesuffix(INDEX))


def _is_table(path: Path) -> bool:
    if not path.is_file() or path.stat().st_size < len(MAGIC):
        return False
    with path.open("rb") as file:
        file.seek(-len(MAGIC), 2)
        return file.read() == MAGIC


def _array(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float32) if array.dtype.name in ("float16", "bfloat16") else np.asarray(array)
