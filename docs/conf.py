"""Sphinx: Markdown pages by MyST, the API from docstrings, which the registry makes when it is imported."""

import os
import re
import tomllib
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from keras_inception.registry import architectures

PROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
REPOSITORY = PROJECT["urls"]["Repository"]

project = "keras-inception"
release = version = PROJECT["version"]
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode", "sphinx_copybutton"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "keras-inception"
html_show_copyright = False
html_theme_options = {
    "source_repository": REPOSITORY,
    "source_branch": "main",
    "source_directory": "docs/",
}
html_static_path = ["_static"]
LIVE = Path(__file__).parents[1] / "build" / "live"  # `make site` puts the demo's page into it
html_extra_path = [str(LIVE)] if LIVE.is_dir() else []
html_css_files = ["site.css"]

myst_enable_extensions = ["attrs_block", "colon_fence"]
myst_heading_anchors = 3
suppress_warnings = ["myst.header"]  # family pages are tables, whose levels a reader of the file sees too
default_role = "code"  # docstrings write names as Markdown does
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
napoleon_numpy_docstring = False
napoleon_use_rtype = False
copybutton_prompt_text = "$ "
copybutton_only_copy_prompt_lines = True


def once_a_family(app, what, name, obj, options, lines):
    """Builders of one family differ in a row of its table: the first one's docstring is in full, the others' short."""
    entry = next((a for a in architectures() if a.build is obj), None)
    first = next((a for a in architectures() if entry and a.backbone is entry.backbone), None)
    if entry and name.endswith(f".{entry.alias}"):
        lines[:] = [f"Another name of :func:`keras_inception.{entry.builder}`.", ""]
    elif entry and first is not entry:
        height, width, channels = entry.input_shape
        lines[:] = [
            f'{entry.paper.authors}, {entry.paper.year}, "{entry.paper.title}". {entry.paper.url}',
            "",
            f"Images of {height} x {width} x {channels}, {entry.parameters:,} parameters; otherwise as "
            f":func:`keras_inception.{first.builder}`.",
            "",
        ]


def stars(app, what, name, obj, options, lines):
    """Docstrings are plain text with names in backticks: a star is a star."""
    for i, line in enumerate(lines):
        pieces = line.split("`")
        lines[i] = "`".join(p if n % 2 else re.sub(r"(?<!\\)\*(?=\w)", r"\*", p) for n, p in enumerate(pieces))


def fields(app, what, name, obj, skip, options):
    """A named tuple's fields are in its signature already."""
    return True if type(obj).__name__ == "_tuplegetter" else None


def live(app, docname, source):
    """The page of the demo's network, where a reader can try it, in the place of its image."""
    if docname == "howto/web" and LIVE.is_dir():
        frame = '<iframe src="../page/index.html" title="Handwritten digits" allow="camera" class="live"></iframe>'
        said = (
            "This is the page of [`keras-inception demo`](../tutorial.md): it reads handwritten digits, white on black."
        )
        source[0] = re.sub(
            r"^!\[The page on.*$", f"{said}\n\n```{{raw}} html\n{frame}\n```\n\n\\g<0>", source[0], flags=re.M
        )


def setup(app):
    """Sphinx calls this."""
    app.connect("source-read", live)
    app.connect("autodoc-skip-member", fields)
    app.connect("autodoc-process-docstring", once_a_family, priority=100)
    app.connect("autodoc-process-docstring", stars, priority=200)
