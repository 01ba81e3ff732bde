"""A history in the format that TensorBoard reads, which TensorFlow can write: there is nothing to install."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import tensorflow as tf

from ..files import write_file

NAME = "events.out.tfevents.0.keras_inception"  # TensorBoard recognises the first three words


def write_events(folder: Path, history: Sequence[dict[str, float]]) -> None:
    """Write the whole history to `folder`, over the file of earlier epochs, so that a resumed training has no gap."""
    v1 = tf.compat.v1
    folder.mkdir(parents=True, exist_ok=True)

    def write(part: Path) -> None:
        with tf.io.TFRecordWriter(os.fspath(part)) as file:
            file.write(v1.Event(file_version="brain.Event:2").SerializeToString())
            for epoch, row in enumerate(history, 1):
                values = [v1.Summary.Value(tag=tag, simple_value=value) for tag, value in row.items()]
                file.write(v1.Event(step=epoch, summary=v1.Summary(value=values)).SerializeToString())

    write_file(folder / NAME, write)
