"""The licences of the package, of the packages that it runs on, and of the published weights."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from .weights import checkpoints

OWN = "keras-inception"
UNSTATED = "not stated"
NON_COMMERCIAL = re.compile(r"\bNC\b|non-?commercial", re.IGNORECASE)
OSI = "License :: OSI Approved"  # a classifier that names no licence


@dataclass(frozen=True, kw_only=True)
class Licence:
    """What something is licensed under, as its publisher states it.

    `kind` is "package" (this one), "dependency" or "weights". `name` is that of the distribution, or a checkpoint's
    "network.tag". `version` is the installed one, "" of weights.
    """

    kind: str
    name: str
    version: str
    licence: str

    @property
    def non_commercial(self) -> bool:
        """Whether the publisher's words exclude commercial use."""
        return bool(NON_COMMERCIAL.search(self.licence))


def licences() -> list[Licence]:
    """The licence of this package, of each installed package that it needs, and of each published checkpoint.

    Needed are the package's requirements and theirs, those of its extras too where they are installed. A distribution
    states its licence in its metadata: License-Expression, else License, else its classifiers.
    """
    own, *others = _needed()
    return [
        _of("package", own),
        *sorted((_of("dependency", other) for other in others), key=lambda found: found.name),
        *(Licence(kind="weights", name=c.id, version="", licence=c.license) for c in checkpoints()),
    ]


def stated(found: Distribution) -> str:
    """The licence in a distribution's metadata, in one line: many have the licence's whole text there."""
    expression, given = _field(found, "License-Expression"), _field(found, "License")
    if given.upper() == "UNKNOWN":  # what old build tools wrote for nothing
        given = ""
    if expression or (given and "\n" not in given):
        return expression or given
    classifiers = [c for c in found.metadata.get_all("Classifier") or () if c.startswith("License :: ") and c != OSI]
    if classifiers:
        return ", ".join(c.rpartition(" :: ")[2] for c in classifiers)
    return given.partition("\n")[0] or UNSTATED


def _field(found: Distribution, name: str) -> str:
    return (found.metadata.get_all(name) or [""])[0].strip()


def _of(kind: str, found: Distribution) -> Licence:
    name = canonicalize_name(found.metadata["Name"])
    return Licence(kind=kind, name=name, version=found.version, licence=stated(found))


def _needed() -> Iterator[Distribution]:
    """This package's distribution, then each installed one that it needs, once."""
    own = distribution(OWN)
    waiting = [(own, frozenset(own.metadata.get_all("Provides-Extra") or ()))]
    done: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        found, extras = waiting.pop(0)
        if (key := (canonicalize_name(found.metadata["Name"]), extras)) in done:
            continue
        if key[0] not in {name for name, _ in done}:
            yield found
        done.add(key)
        for text in found.requires or []:
            requirement = Requirement(text)
            marker = requirement.marker
            if marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras)):
                try:
                    waiting.append((distribution(requirement.name), frozenset(requirement.extras)))
                except PackageNotFoundError:  # of an extra that is not installed
                    continue
