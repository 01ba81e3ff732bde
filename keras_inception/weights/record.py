"""What is known of a published checkpoint, as a record; `catalogue` holds them all."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from ..preprocessing import Preprocessing

# How a publisher states a file's hash: an algorithm and its hexadecimal digest, or the first digits of one.
HASH = re.compile(r"(sha256:[0-9a-f]{64}|sha1:[0-9a-f]{40}|md5:[0-9a-f]{32}|sha256-prefix:[0-9a-f]{8,63})")
LAYOUTS = ("keras", "timm", "tf2cv", "torchvision", "pytorchcv", "cadene", "facenet")


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """One published file of weights: where it is, what is in it, and the network that it was trained in.

    The file is at the `urls`, tried in their order, or in a repository of the Hugging Face hub. `hash` is that of the
    weights file, as its publisher states it: "sha256:...", "sha1:...", "md5:...", or "sha256-prefix:..." where a file's
    name has its first digits; "" only where `unhashed` says why there is none. Of a .zip it is the one of the file in
    it. `layout` names the table in `names` by which its tensors find their layers. `model` built with `numerics` and
    `kwargs` is the network of the publisher, whose logits it then gives.

    `bytes` is what its publisher says that a download takes, to the precision that is said; None where nothing is.

    `top1` and `top5` are the publisher's accuracies in percent on the validation images of `dataset`, at the size and
    crop of `preprocessing`; `source` says where they and the licence were read.
    """

    model: str
    tag: str  # unique among the model's
    layout: str
    urls: tuple[str, ...] = ()
    hf_repo: str = ""  # "timm/inception_v3.tf_in1k"
    hf_revision: str = ""  # a commit; "" is whatever the hub has now, since nobody stated one
    hf_file: str = "model.safetensors"
    hash: str = ""
    unhashed: str = ""
    bytes: int | None = None
    license: str
    source: str
    top1: float | None = None
    top5: float | None = None
    dataset: str = "imagenet"
    classes: int = 1000
    numerics: str
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    preprocessing: Preprocessing

    def __post_init__(self) -> None:
        if self.layout not in LAYOUTS:
            raise ValueError(f"{self.id}: layout must be one of {', '.join(LAYOUTS)}; got {self.layout!r}")
        if bool(self.urls) == bool(self.hf_repo):
            raise ValueError(f"{self.id}: a checkpoint has either urls or a repository on the hub")
        if bool(self.hash) == bool(self.unhashed):
            raise ValueError(f"{self.id}: a checkpoint has either a hash or a reason why it has none")
        if self.hash and not HASH.fullmatch(self.hash):
            raise ValueError(f"{self.id}: {self.hash!r} is no hash")
        if not self.hash and any(url.startswith("http:") for url in self.urls):
            raise ValueError(f"{self.id}: what comes by plain http needs a hash")
        object.__setattr__(self, "kwargs", MappingProxyType(dict(self.kwargs)))

    @property
    def id(self) -> str:
        """ "inception_v3.tf_in1k"."""
        return f"{self.model}.{self.tag}"
