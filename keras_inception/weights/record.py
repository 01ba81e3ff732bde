"""The record of a published checkpoint, and the checkpoint that a model was built with."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal
from weakref import WeakKeyDictionary

import keras

from ..arguments import check_fields, checked
from ..errors import InputError
from ..preprocessing import Preprocessing

# A file's hash as its publisher states it: an algorithm and the hexadecimal digest, or the first digits of one.
HASH = re.compile(r"(sha256:[0-9a-f]{64}|(git-)?sha1:[0-9a-f]{40}|md5:[0-9a-f]{32}|sha256-prefix:[0-9a-f]{8,63})")


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A published file of weights: where it is, what it holds, and the network that it was trained in.

    The file is at one of the `urls`, tried in order, or in a repository of the Hugging Face hub, or a person downloads
    `page_file` from a `page` that serves it to browsers only. `hash` is the hash of the weights file that its publisher
    states: "sha256:...", "sha1:...", "git-sha1:..." (the name that git gives to a file), "md5:...", or
    "sha256-prefix:..." if only the first digits are known. For a .zip it is the hash of the file inside. It is "" only
    if `unhashed` gives the reason.
    `layout` names the `Layout` that matches the tensors to layers. `model`, built with `numerics` and `kwargs`, is the
    publisher's network and gives its logits.

    `class_order` says how the publisher numbers the thousand classes of ImageNet: "wordnet", by WordNet id, as nearly
    all do, or "ilsvrc", as the devkit of ILSVRC. They are loaded in the first order.

    `bytes` is the size of the download that the publisher states, at the stated precision, or None.

    `top1` and `top5` are the publisher's accuracies in percent on the validation images of `dataset`, with the size and
    the crop of `preprocessing`. `source` says where the accuracies and the licence are stated.

    Raises:
        InputError: a field has a wrong type, or the file's place or its hash is missing, or given twice.
    """

    model: str
    tag: str  # unique among the checkpoints of the model
    layout: str
    urls: tuple[str, ...] = ()
    hf_repo: str = ""  # "timm/inception_v3.tf_in1k"
    hf_revision: str = ""  # a commit; "" is the current state of the repository
    hf_file: str = "model.safetensors"
    page: str = ""
    page_file: str = ""
    hash: str = ""
    unhashed: str = ""
    bytes: int | None = None
    license: str
    source: str
    top1: float | None = None
    top5: float | None = None
    dataset: str = "imagenet"
    classes: int = 1000
    class_order: Literal["wordnet", "ilsvrc"] = "wordnet"
    numerics: str
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    preprocessing: Preprocessing

    def __post_init__(self) -> None:
        check_fields(self)
        if [bool(self.urls), bool(self.hf_repo), bool(self.page and self.page_file)].count(True) != 1:
            raise InputError(f"{self.id}: a checkpoint has either urls, a repository on the hub, or a page with a file")
        if bool(self.hash) == bool(self.unhashed):
            raise InputError(f"{self.id}: a checkpoint has either a hash or a reason why it has none")
        if self.hash and not HASH.fullmatch(self.hash):
            raise InputError(f"{self.id}: {self.hash!r} is not a hash")
        if not self.hash and any(url.startswith("http:") for url in self.urls):
            raise InputError(f"{self.id}: a file served by plain http needs a hash")
        object.__setattr__(self, "kwargs", MappingProxyType(dict(self.kwargs)))

    @property
    def is_for_imagenet(self) -> bool:
        """Whether `weights="imagenet"` may mean it: its classes are ImageNet's, and a program can download it."""
        return self.dataset == "imagenet" and not self.page

    @property
    def id(self) -> str:
        """The model and the tag: "inception_v3.tf_in1k"."""
        return f"{self.model}.{self.tag}"


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """How a model that came from a run or a `.tflite` file takes images, and its classes; () are those of ImageNet."""

    preprocessing: Preprocessing
    labels: tuple[str, ...] = ()


# What filled a model. A model is in it as long as it exists.
loaded: WeakKeyDictionary[keras.Model, Checkpoint | Prepared] = WeakKeyDictionary()


@checked
def checkpoint_of(model: keras.Model) -> Checkpoint:
    """The checkpoint that the model was built with, also after further training.

    Raises:
        InputError: it was built without published weights, or it was loaded from a file.
    """
    if isinstance(checkpoint := loaded.get(model), Checkpoint):
        return checkpoint
    raise _unknown(model)


def record_of(model: Any) -> Any:
    """What knows the preprocessing and the classes of a model: a `Checkpoint` or a `Prepared`; a record is its own.

    Raises:
        InputError: nothing does.
    """
    if not isinstance(model, keras.Model):
        if not hasattr(model, "preprocessing"):
            raise InputError(f"model is a network with published weights, a checkpoint or a Run; got {model!r}")
        return model
    if (record := loaded.get(model)) is None:
        raise _unknown(model)
    return record


def _unknown(model: keras.Model) -> InputError:
    return InputError(
        f"{model.name} was not built with published weights, or was loaded from a file: give the Run in its place, "
        "Run.load(directory), or a checkpoint, keras_inception.weights.find(...)"
    )
