"""The README's table of models is the registry's; what it shows is run by test_docs.py."""

import re

from docs.generate import ROOT, table

README = ROOT / "README.md"
TABLE = re.compile(r"(?<=<!-- models: generated -->\n).*(?=<!-- end -->)", re.DOTALL)


def test_the_table_of_models_is_up_to_date(accept):
    text = README.read_text(encoding="utf-8")
    if accept:
        text = TABLE.sub(lambda _: table() + "\n", text)
        README.write_text(text, encoding="utf-8")
    assert TABLE.search(text)[0] == table() + "\n", "it is not the registry's: `pytest --accept` renews it"


def test_its_first_screen_has_what_a_reader_decides_by():
    """The two commands, what they print, and code, within 45 lines."""
    screen = "\n".join(README.read_text(encoding="utf-8").splitlines()[:45])
    assert all(part in screen for part in ("make demo", "make test", "tflite int8", "from keras_inception import"))
