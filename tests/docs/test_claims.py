"""docs/claims.md: what the code gives is what the page says. `make claims` renews it."""

import re

import pytest

from docs.claims import CLAIMS, PAGE, page, section, shown, verdict

TEXT = PAGE.read_text(encoding="utf-8")
# The sections of the page, by paper.
WRITTEN = dict(zip(CLAIMS, (f"## {part}".rstrip() for part in TEXT.split("\n## ")[1:]), strict=True))


@pytest.mark.parametrize("slug", CLAIMS)
def test_the_page_has_what_the_code_gives(slug: str) -> None:
    assert section(slug) == WRITTEN[slug]


def test_the_verdicts_are_counted() -> None:
    assert page(WRITTEN) == TEXT
    assert sum(map(len, CLAIMS.values())) > 150


def test_whatever_differs_is_explained() -> None:
    assert "**differs**: " in TEXT
    assert not re.findall(r".*\*\*differs\*\* \|", TEXT)


@pytest.mark.parametrize(
    ("published", "value", "expected", "words"),
    [
        ("138 M", 138_357_544, "agrees", "138,357,544"),
        ("60 M", 60_965_224, "near", "60,965,224"),
        ("12 ×", 8.711, "differs", "8.711 ×"),
        ("1,516", 1_516, "agrees", "1,516"),
        ("1,516", 1_517, "near", "1,517"),
        ("0.26 %", 0.2649, "agrees", "0.2649 %"),
        ("0.26 %", 0.2651, "near", "0.2651 %"),
        ("4.8 MiB", 4 * 1_248_424, "agrees", "4.762 MiB"),
        ("< 25 M", 24_999_999, "agrees", "24,999,999"),
        ("< 25 M", 25_000_001, "near", "25,000,001"),
        ("> 8 ×", 7.0, "differs", "7 ×"),
    ],
)
def test_a_verdict_follows_from_the_number(published: str, value: float, expected: str, words: str) -> None:
    assert verdict(published, value) == expected
    assert shown(published, value) == words
