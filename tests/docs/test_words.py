"""Prose uses the terms of the field: one word for one thing, the words of other people's titles and APIs aside."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
USE = {  # what we do not write -> what we write
    r"pictures?": "image",
    r"behind": "after",
    r"goes on|gone on with": "resumes, continues",
    r"lessons?": "trainer, training step",
    r"surest": "most confident",
    r"surer": "more confident",
    r"hush(?:ed|es)?": "silence",
    r"twins?": "fake-quantised copy, Keras 2 copy",
    r"look-?alikes?": "near-duplicate",
    r"second opinion": "cross-check",
}
BANNED = re.compile(rf"\b(?:{'|'.join(USE)})\b", re.IGNORECASE)
ALLOWED = [  # legitimate uses, taken out of a line before it is searched
    r"PicturePicker|PhotoPicker|TakePicture\w*",  # Android's API
    r"behind a proxy|behind a firewall",
]
FILES = sorted(
    path
    for pattern in (
        "*.md",
        "keras_inception/**/*.py",
        "export/**/*.py",
        "docs/**/*.md",
        "docs/*.py",
        "benchmarks/*.md",
        "benchmarks/*.py",
        "colab/*.ipynb",
    )
    for path in ROOT.glob(pattern)
    if "_build" not in path.parts
)


def lines(path: Path) -> Iterator[tuple[int, str]]:
    """Numbered lines; of a notebook those of its cells, from the first; not the changelog's tables of old names."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".ipynb":
        text = "\n".join("".join(cell["source"]) for cell in json.loads(text)["cells"])
    numbered = enumerate(text.splitlines(), start=1)
    return (line for line in numbered if path.name != "CHANGELOG.md" or not line[1].startswith("|"))


def found(line: str) -> list[str]:
    for allowed in ALLOWED:
        line = re.sub(allowed, "", line)
    return BANNED.findall(line)


def test_prose_uses_the_words_of_the_field():
    wrong = [
        f"{path.relative_to(ROOT)}:{n}: {word}" for path in FILES for n, line in lines(path) for word in found(line)
    ]
    assert not wrong, "\n".join(["USE in this test has the words to write instead", *wrong])


def test_a_banned_word_is_found():
    assert found("The pictures stand Behind it, look-alikes too") == ["pictures", "Behind", "look-alikes"]
    assert found("`setPicturePicker`: PicturePicker, behind a proxy") == []
