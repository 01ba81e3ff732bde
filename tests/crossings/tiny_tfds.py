"""A data set of TensorFlow Datasets that needs no download, with class names of any text."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

PLAIN_NAMES = ("blue", "green", "red")
NAMES = ("$5_$", "<b>%s 中文 العربية 😀", "x" * 200)


def builder_for(names: tuple[str, ...], place: Path, monkeypatch: Any) -> str:
    """Register the data set, and give the name that `train` takes."""
    tfds = pytest.importorskip("tensorflow_datasets", reason="needs the extra tfds")
    from .test_crossings import arrays

    class Crossed(tfds.core.GeneratorBasedBuilder):
        """Coloured images."""

        VERSION = tfds.core.Version("1.0.0")
        name = f"crossed{abs(hash(str(place)))}"

        def _info(self):
            image = tfds.features.Image(shape=(None, None, 3), encoding_format="png")
            features = {"image": image, "label": tfds.features.ClassLabel(names=list(names))}
            return self.dataset_info_from_configs(features=tfds.features.FeaturesDict(features))

        def _split_generators(self, dl_manager):
            return {"train": self._generate_examples(0), "test": self._generate_examples(3)}

        def _generate_examples(self, part):
            for i, (image, label) in enumerate(zip(*arrays(len(names)), strict=True)):
                if (i % 4 == 3) == bool(part):
                    yield i, {"image": np.asarray(image), "label": int(label)}

    monkeypatch.setattr(tfds.core.constants, "DATA_DIR", str(place / "tfds"))
    return f"tfds:{Crossed.name}"
