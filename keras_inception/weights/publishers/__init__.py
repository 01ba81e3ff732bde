"""The published checkpoints that can be loaded. `checkpoints` lists them, `find` looks one up.

Each module is a publisher: `CHECKPOINTS` are the records of its files, and `LAYOUT` says how they name the weights. To
add a publisher, write its module and list it in `PUBLISHERS`.

Not listed are formats that nothing here reads (Torch's `.t7`), and Keras files of third parties, for which no
implementation is available to test against.
"""

from __future__ import annotations

import difflib

from ...arguments import checked
from ...errors import InputError
from ..matching import Layout
from ..record import Checkpoint
from . import cadene, caffe, facenet, keras_team, pytorchcv, slim, tf2cv, timm, torchvision

# In order of preference: the first checkpoint of a model that was trained on ImageNet and is no page is its "imagenet".
PUBLISHERS = (keras_team, timm, torchvision, tf2cv, pytorchcv, cadene, facenet, slim, caffe)
LAYOUTS: dict[str, Layout] = {publisher.LAYOUT.name: publisher.LAYOUT for publisher in PUBLISHERS}
CHECKPOINTS: tuple[Checkpoint, ...] = tuple(c for publisher in PUBLISHERS for c in publisher.CHECKPOINTS)


@checked
def checkpoints(model: str | None = None) -> tuple[Checkpoint, ...]:
    """All checkpoints, or those of a model given by its registry name, in order of preference.

    Raises:
        InputError: the name is no string.
    """
    return tuple(c for c in CHECKPOINTS if model in (None, c.model))


@checked
def find(model: str, tag: str) -> Checkpoint:
    """The checkpoint of a model with this tag; "imagenet" is the model's first that was trained on ImageNet.

    Raises:
        InputError: there is none; the message lists the model's tags.
    """
    own = checkpoints(model)
    for checkpoint in own:
        if tag == checkpoint.tag or (tag == "imagenet" and checkpoint.is_for_imagenet):
            return checkpoint
    if not own:
        raise InputError(f"no weights are published for {model} that can be loaded; weights is None or a file's path")
    tags = [c.tag for c in own]
    near = difflib.get_close_matches(tag, tags, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise InputError(f"{model} has no weights {tag!r}: {hint}It has {', '.join(map(repr, tags))}")
