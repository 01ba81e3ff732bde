"""What an app that shows a network's answers must know of it; the web page and the phone kit write it."""

from __future__ import annotations

from typing import Any

from keras_inception.errors import InputError

from .inputs import Exportable


def about_app(source: Exportable, title: str | None, kind: str) -> dict[str, Any]:
    """Title, description, classes and the way of an image to the network's input, as JSON values.

    Args:
        source: what is exported.
        title: the app's heading; None is the network's name.
        kind: what the app is called in an error, "page".

    Raises:
        InputError: the network has no labels or no preprocessing, or gives no probabilities.
    """
    prepared, labels = source.preprocessing, source.labels
    if prepared is None or labels is None:
        lacking = "preprocessing" if prepared is None else "labels"
        raise InputError(f"a {kind} shows images and names: give {lacking}=, or a run, which knows them")
    if source.output_name != "probabilities":
        raise InputError(f"a {kind} shows probabilities: the network must end in a softmax or a sigmoid")
    return {
        "title": title or (source.run.path.name if source.run else source.model.name),
        "description": f"Tells {len(labels):,} classes apart.",
        "labels": labels,
        "input": {
            "size": list(prepared.size),
            "mode": prepared.resize_mode,
            "crop": prepared.crop_share.as_integer_ratio(),
            "fill": prepared.border,
            "interpolation": prepared.interpolation,
        },
    }
