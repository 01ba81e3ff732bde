"""The records of published checkpoints: what each has, and how one is found."""

from collections import Counter
from urllib.parse import urlsplit

import numpy as np
import pytest

from keras_inception.errors import InputError
from keras_inception.preprocessing import Preprocessing
from keras_inception.registry import get
from keras_inception.weights import Checkpoint, checkpoints, find
from keras_inception.weights.publishers import LAYOUTS

ALL = checkpoints()
record = pytest.mark.parametrize("record", ALL, ids=lambda c: f"{c.id}-{c.layout}")


def test_a_models_tags_are_its_own() -> None:
    assert [id for id, count in Counter(c.id for c in ALL).items() if count > 1] == []


@record
def test_a_record_belongs_to_a_network_of_ours_as_it_was_trained(record: Checkpoint) -> None:
    architecture = get(record.model)
    assert architecture.name == record.model
    assert record.numerics in architecture.numerics
    assert set(record.kwargs) <= set(architecture.own)
    assert record.model in LAYOUTS[record.layout].tables
    assert min(record.preprocessing.size) >= architecture.smallest
    assert record.preprocessing.channels in ("RGB", "BGR", "L")


@record
def test_a_record_has_its_source_and_licence(record: Checkpoint) -> None:
    assert record.license
    assert record.source
    assert {urlsplit(url).scheme for url in record.urls} <= {"https", "http"}
    assert record.hash or record.unhashed
    assert "plain http" in record.source or not record.urls or record.urls[0].startswith("https:")
    if record.hash.startswith("sha256-prefix:"):
        assert record.hash.removeprefix("sha256-prefix:") in record.urls[0], "the file's name states it"
    if record.dataset == "imagenet" and record.top1 is not None:
        assert 30 < record.top1 < record.top5 < 100


def test_files_are_published_once() -> None:
    assert [url for url, count in Counter(url for c in ALL for url in c.urls).items() if count > 1] == []
    assert [repo for repo, count in Counter(c.hf_repo for c in ALL if c.hf_repo).items() if count > 1] == []


@pytest.mark.parametrize("model", ["inception_v1_bn", "inception_v3"])
def test_the_preprocessing_of_torchvisions_inceptions_includes_their_transform(model: str) -> None:
    pixels = np.arange(0, 256, 5.0)[:, None]
    mean, std = np.array((0.485, 0.456, 0.406)), np.array((0.229, 0.224, 0.225))
    normalised = (pixels / 255 - mean) / std
    transformed = normalised * (std / 0.5) + (mean - 0.5) / 0.5  # their _transform_input
    ours = find(model, "torchvision1_in1k").preprocessing
    np.testing.assert_allclose((pixels - ours.mean) / ours.std, transformed, atol=1e-12)


def test_imagenet_is_the_first_and_the_others_have_tags() -> None:
    assert find("resnet50", "imagenet").tag == "keras_in1k"
    assert find("resnet18", "imagenet").tag == "tv_in1k"
    assert find("resnet50", "torchvision2_in1k").top1 == 80.858
    assert find("mobilenet_v2", "keras_035_in1k").kwargs == {"alpha": 0.35}
    assert find("mobilenet_v2", "imagenet").kwargs == {"alpha": 1.0}
    assert checkpoints("resnet50")[0] == find("resnet50", "imagenet")


def test_an_unknown_tag_lists_the_tags() -> None:
    with pytest.raises(
        InputError, match=r"resnet50 has no weights 'tv1_in1k': did you mean 'tv_in1k'\? It has 'keras_in1k'"
    ):
        find("resnet50", "tv1_in1k")
    with pytest.raises(InputError, match=r"no weights are published for fractalnet20"):
        find("fractalnet20", "imagenet")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"urls": ()}, "either urls, a repository"),
        ({"hf_repo": "timm/x"}, "either urls, a repository"),
        ({"page": "https://example.org/", "page_file": "x.caffemodel"}, "either urls, a repository"),
        ({"urls": (), "page": "https://example.org/"}, "a page with a file"),
        ({"hash": ""}, "either a hash or a reason"),
        ({"unhashed": "why"}, "either a hash or a reason"),
        ({"urls": ("http://example.org/x.h5",), "hash": "", "unhashed": "why"}, "plain http needs a hash"),
        ({"hash": "md5:12"}, "'md5:12' is not a hash"),
    ],
)
def test_an_incomplete_record_is_refused(changes: dict, message: str) -> None:
    facts = {
        "model": "lenet5",
        "tag": "x",
        "layout": "keras",
        "urls": ("https://example.org/x.h5",),
        "hash": "md5:" + "0" * 32,
        "license": "MIT",
        "source": "here",
        "numerics": "tf",
        "preprocessing": Preprocessing(size=(32, 32)),
    }
    Checkpoint(**facts)
    with pytest.raises(ValueError, match=message):
        Checkpoint(**facts | changes)
