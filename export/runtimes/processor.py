"""The processor that files run on here."""

from __future__ import annotations

import platform
import sys
from functools import cache
from pathlib import Path

EXACT = {"avx512_vnni", "avx_vnni", "amx_int8", "asimd"}  # with one of these, products of int8 are added in 32 bits

BFLOAT16 = {"avx512_bf16", "amx_bf16", "bf16"}  # with one of these, it multiplies bfloat16; the last is arm64's


def processor() -> str:
    """The processor's name."""
    if (lines := _lines()) is None:
        return platform.processor() or platform.machine()
    return next((value for key, value in lines if key == "model name"), platform.machine())


def features() -> set[str]:
    """The instruction sets that Linux lists, empty on other systems."""
    return set(next((value for key, value in _lines() or [] if key in ("flags", "Features")), "").split())


@cache
def sums_exactly() -> bool:
    """Whether it adds products of int8 in 32 bits: x86 without VNNI adds pairs in 16, which overflow."""
    return bool(EXACT & features()) if _lines() is not None else sys.platform == "darwin"


def multiplies_bfloat16() -> bool:
    """Whether it multiplies bfloat16: others convert it to float32 and back. False where it is not known."""
    return bool(BFLOAT16 & features())


def _lines() -> list[tuple[str, str]] | None:
    """What Linux says of the processor, (key, value); None on other systems."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    return [(key.strip(), value.strip()) for key, _, value in (line.partition(":") for line in lines)]
