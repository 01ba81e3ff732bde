"""The device that a training runs on: what kind it is, and how much memory it has."""

from __future__ import annotations

import os
import platform
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tensorflow as tf


@dataclass(frozen=True)
class Device:
    """The accelerator that TensorFlow uses, or the CPU. `capability` is the compute capability of an NVIDIA GPU."""

    kind: Literal["cpu", "gpu", "tpu"]
    name: str
    capability: tuple[int, int] | None = None


def device() -> Device:
    """The device that TensorFlow places a network on."""
    if tpus := tf.config.list_logical_devices("TPU"):
        return Device("tpu", tpus[0].name)
    if gpus := tf.config.list_physical_devices("GPU"):
        details = tf.config.experimental.get_device_details(gpus[0])
        return Device("gpu", details.get("device_name", "GPU"), details.get("compute_capability"))
    return Device("cpu", f"{os.cpu_count()} cores, {platform.processor() or platform.machine()}")


def available_memory() -> float:
    """Bytes of main memory that a process can still have; infinity where the system does not say."""
    found = [float("inf")]
    with suppress(OSError, ValueError, IndexError):  # Linux alone has these files
        lines = Path("/proc/meminfo").read_text().splitlines()
        found += [1024.0 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")]
    with suppress(OSError, ValueError):  # a container's limit
        limit, used = (int(Path(f"/sys/fs/cgroup/memory.{name}").read_text()) for name in ("max", "current"))
        found.append(float(limit - used))
    return min(found)
