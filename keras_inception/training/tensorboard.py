"""A history as TensorBoard reads it. The file is TensorFlow's own records of its own messages: nothing to install."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import tensorflow as tf

from ..files import write_file

NAME = "events.out.tfevents.0.keras_inception"  # TensorBoard goes by the first three words


def write_events(folder: Path, history: Sequence[dict[str, float]]) -> None:
    """Write every figure of every epoch into `folder`, over what was there: a resumed training has no gap."""
    v1 = tf.compat.v1
    folder.mkdir(parents=True, exist_ok=True)

    def write(part: Path) -> None:
        with tf.io.TFRecordWriter(os.fspath(part)) as file:
            file.write(v1.Event(file_version="brain.Event:2").SerializeToString())
            for epoch, row in enumerate(history, 1):
                values = [v1.Summary.Value(tag=tag, simple_value=value) for tag, value in row.items()]
                file.write(v1.Event(step=epoch, summary=v1.Summary(value=values)).SerializeToString())

    write_file(folder / NAME, write)
