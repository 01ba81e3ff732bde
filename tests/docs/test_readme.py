"""The README: its table of models is current, its first screen complete. test_docs.py runs its code."""

import re

from docs.generate import ROOT, table

README = ROOT / "README.md"
TABLE = re.compile(r"(?<=<!-- models: generated -->\n).*(?=<!-- end -->)", re.DOTALL)


def test_the_table_of_models_is_up_to_date(accept):
    text = README.read_text(encoding="utf-8")
    if accept:
        text = TABLE.sub(lambda _: table() + "\n", text)
        README.write_text(text, encoding="utf-8")
    assert TABLE.search(text)[0] == table() + "\n", "the table is out of date: `pytest --accept` renews it"


def test_its_first_screen_has_what_a_reader_decides_by():
    """How to install it, the two commands, code and a figure, within 45 lines."""
    screen = "\n".join(README.read_text(encoding="utf-8").splitlines()[:45])
    wanted = ("pip install", "keras-inception train", "keras-inception export", "from keras_inception import", ".svg")
    assert [part for part in wanted if part not in screen] == []
