"""What is stated of licences: by distributions in their metadata, by publishers in the catalogue of weights."""

import email
import importlib.metadata
from types import SimpleNamespace

import pytest

from keras_inception.licences import UNSTATED, Licence, licences, stated
from keras_inception.weights import checkpoints

OSI = "Classifier: License :: OSI Approved"


@pytest.mark.parametrize(
    ("metadata", "licence"),
    [
        (f"License-Expression: MIT\nLicense: BSD\n{OSI} :: Apache Software License", "MIT"),
        (f"License: Apache 2.0\n{OSI} :: MIT License", "Apache 2.0"),
        (f"License: UNKNOWN\n{OSI} :: MIT License", "MIT License"),
        (
            f"License: The text\n        of a licence\n{OSI} :: MIT License\n{OSI} :: BSD License",
            "MIT License, BSD License",
        ),
        (f"License: The text\n        of a licence\n{OSI}", "The text"),
        ("License: UNKNOWN", UNSTATED),
        ("Classifier: Typing :: Typed", UNSTATED),
    ],
)
def test_what_a_distribution_states(metadata, licence) -> None:
    assert stated(SimpleNamespace(metadata=email.message_from_string(f"Name: x\n{metadata}\n"))) == licence


def test_everything_is_listed_once() -> None:
    found = licences()
    assert [entry.name for entry in found if entry.kind == "package"] == ["keras-inception"]
    assert len({(entry.kind, entry.name) for entry in found}) == len(found)
    assert {entry.name: entry.licence for entry in found if entry.kind == "weights"} == {
        checkpoint.id: checkpoint.license for checkpoint in checkpoints()
    }
    dependencies = {entry.name: entry.version for entry in found if entry.kind == "dependency"}
    assert {"keras", "tensorflow", "numpy"} <= dependencies.keys()  # NumPy is required by these
    assert dependencies["tomli-w"] == importlib.metadata.version("tomli_w")
    assert "pytest" not in dependencies


@pytest.mark.parametrize(
    ("licence", "excluded"),
    [
        ("CC-BY-NC-4.0 (of the authors' Caffe weights)", True),
        ("non-commercial use only", True),
        ("Noncommercial research", True),
        ("Apache-2.0", False),
        ("unrestricted use", False),
        ("NCSA", False),
    ],
)
def test_commercial_use(licence, excluded) -> None:
    assert Licence(kind="weights", name="x", version="", licence=licence).non_commercial is excluded
