"""Every published checkpoint that can be loaded, as data: `checkpoints` lists them, `find` picks one.

One file a publisher. Left out are formats that nothing here reads (Caffe's .caffemodel, TensorFlow's .ckpt, Torch's
.t7), folders of file hosters, and third parties' Keras files, which no implementation at hand would prove to be read
right.
"""

from __future__ import annotations

import difflib

from ...errors import InputError
from ..record import Checkpoint
from .cadene import CADENE
from .facenet import FACENET
from .keras_team import KERAS_TEAM
from .osmr import PYTORCHCV, TF2CV
from .timm import LEGACY, TIMM
from .torchvision import TORCHVISION

# A model's first is its "imagenet": the publishers are in the order of preference.
ALL: tuple[Checkpoint, ...] = (*KERAS_TEAM, *TIMM, *TORCHVISION, *LEGACY, *TF2CV, *PYTORCHCV, *CADENE, *FACENET)


def checkpoints(model: str | None = None) -> tuple[Checkpoint, ...]:
    """All checkpoints, or those of a model by its registry name, the preferred first."""
    return tuple(c for c in ALL if model in (None, c.model))


def find(model: str, tag: str) -> Checkpoint:
    """The model's checkpoint of that tag; "imagenet" is the first that was trained on it.

    Raises:
        InputError: there is none; the message lists the model's tags.
    """
    own = checkpoints(model)
    for checkpoint in own:
        if tag == checkpoint.tag or tag == checkpoint.dataset == "imagenet":
            return checkpoint
    if not own:
        raise InputError(f"no weights are published for {model} that can be loaded; weights is None or a file's path")
    tags = [c.tag for c in own]
    near = difflib.get_close_matches(tag, tags, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise InputError(f"{model} has no weights {tag!r}: {hint}It has {', '.join(map(repr, tags))}")
