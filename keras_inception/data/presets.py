"""Augmentations by name, and in words: what `train --augment` takes.

    keras-inception train images/ --augment medium --augment mixup=0.2 --augment area=0.4

::

    | preset | area | flip | colour | rotation | blur | randaugment | erasing | mixup | cutmix |
    | none | 1 | no | 0 | 0 | 0 | 0 | 0 | 0 | 0 |
    | light | 0.5 | yes | 0 | 0 | 0 | 0 | 0 | 0 | 0 |
    | medium | 0.35 | yes | 0.5 | 10 | 0.1 | 0 | 0.1 | 0 | 0 |
    | strong | 0.25 | yes | 0 | 0 | 0.1 | 0.3 | 0.25 | 0.2 | 1 |

`Augmentation` says what each number means. RandAugment has changes of colour and rotations of its own. A fifth preset,
shift, is `Shift()`, the CIFAR papers' augmentation, of `pixels` and `flip`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, fields, is_dataclass, replace
from typing import Any

from ..errors import InputError
from .augmentation import Augmentation, Changes, Shift

NONE = Augmentation(area=1.0, flip=False)  # shows what evaluation sees
PRESETS: dict[str, Augmentation | Shift] = {
    "none": NONE,
    "light": Augmentation(),
    "medium": Augmentation(area=0.35, colour=0.5, rotation=10.0, blur=0.1, erasing=0.1),
    "strong": Augmentation(area=0.25, randaugment=0.3, blur=0.1, erasing=0.25, mixup=0.2, cutmix=1.0),
    "shift": Shift(),
}
READ: dict[str, tuple[Callable[[str], Any], str]] = {  # how the value of a field of this type is read
    "float": (float, "a number"),
    "int": (int, "an integer"),
    "bool": ({"true": True, "false": False}.__getitem__, "true or false"),
}


def in_words(words: Sequence[str], base: Changes | None) -> Changes | None:
    """Return the augmentation that words say: at most one preset, and values of its fields, "mixup=0.2".

    Without a preset the values change `base`, which may be None for no augmentation. None is returned for none.

    Raises:
        InputError: there is no such preset or field, or the value is not allowed.
    """
    names = [word for word in words if "=" not in word]
    if unknown := [name for name in names if name not in PRESETS]:
        raise InputError(
            f"augment is {', '.join(PRESETS)}, or NAME=VALUE with a NAME of {', '.join(asdict(NONE))}; "
            f"got {unknown[0]!r}"
        )
    if len(names) > 1:
        raise InputError(f"one preset of augmentation at a time; got {' and '.join(names)}")
    start = PRESETS[names[0]] if names else NONE if base is None else base
    if values := dict(_value(word, start) for word in words if "=" in word):
        start = replace(start, **values)  # type: ignore[type-var]
    return None if start == NONE else start


def words_of(changes: Changes | None) -> list[str]:
    """Return the words that say an augmentation: the preset, or one of its kind and the values that differ.

    Raises:
        InputError: it is none of this package's.
    """
    start = next((name for name, preset in PRESETS.items() if preset == (changes or NONE)), None)
    if start is None:
        start = next((name for name, preset in PRESETS.items() if type(preset) is type(changes)), None)
    if start is None:
        raise InputError(f"{type(changes).__name__} is no augmentation of this package: words cannot say it")
    given, preset = (asdict(x) for x in (changes or NONE, PRESETS[start]))  # type: ignore[call-overload]
    return [start, *(f"{name}={str(value).lower()}" for name, value in given.items() if value != preset[name])]


def _value(word: str, start: Changes) -> tuple[str, Any]:
    """The field and the value of "mixup=0.2"."""
    name, _, text = (part.strip() for part in word.partition("="))
    kinds: dict[str, str] = {field.name: str(field.type) for field in fields(start)} if is_dataclass(start) else {}
    if name not in kinds:
        hint = "; name a preset first, light for example" if name in asdict(NONE) else ""
        raise InputError(f"the augmentation {type(start).__name__} has no {name!r}; it has {', '.join(kinds)}{hint}")
    read, allowed = READ[kinds[name]]
    try:
        return name, read(text)
    except (KeyError, ValueError):
        raise InputError(f"{name} must be {allowed}; got {text!r}") from None
