"""The notebooks of `colab/` are stored without output and run from top to bottom, on small local data."""

import re
import sys
import tomllib
import types
from pathlib import Path

import nbclient
import nbformat
import pytest
from nbclient.exceptions import CellExecutionError

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "colab").glob("*.ipynb"))
SLOW = "03_quantize_for_phones", "04_a_tour_of_the_family"  # they take minutes
METADATA = {
    "accelerator": "GPU",
    "colab": {"provenance": [], "toc_visible": True},
    "kernelspec": {"display_name": "Python 3", "name": "python3"},
    "language_info": {"name": "python"},
}
COLOURS = re.compile(r"\x1b\[[0-9;]*m")

each = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def test_there_are_notebooks() -> None:
    assert len(NOTEBOOKS) == 4


def clean(text: str) -> str:
    """A notebook without outputs and without metadata that changes when someone saves it."""
    notebook = nbformat.reads(text, 4)
    notebook.metadata = nbformat.from_dict(METADATA)
    for cell in notebook.cells:
        cell.metadata = {key: value for key, value in cell.metadata.items() if key == "cellView"}  # it collapses a cell
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    return nbformat.writes(notebook) + "\n"


@each
def test_is_stored_clean(path: Path, accept: bool) -> None:
    stored = path.read_text(encoding="utf-8")
    nbformat.validate(nbformat.reads(stored, 4))
    if accept:
        path.write_text(clean(stored), encoding="utf-8")
        return
    assert stored == clean(stored), (
        "outputs or metadata are stored: `pytest tests/docs/test_notebooks.py --accept` removes them"
    )


@each
def test_names_the_repository(path: Path) -> None:
    """The badge opens this notebook, and the first cell installs this project."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    address = project["urls"]["Repository"]
    colab = f"https://colab.research.google.com/github/{address.removeprefix('https://github.com/')}/blob/main/colab"
    heading, install = nbformat.read(path, 4).cells[:2]
    badge = "[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]"
    assert heading.source.startswith(f"{badge}({colab}/{path.name})\n")
    assert re.search(rf'%pip install -q "{project["name"]}(\[\w+\])? @ git\+{address}"', install.source)
    for name in re.findall(r"colab/([\w.]+)\)", path.read_text(encoding="utf-8")):
        assert (path.parent / name).is_file()


@pytest.mark.parametrize(
    "path", [pytest.param(p, marks=[pytest.mark.slow] * (p.stem in SLOW), id=p.stem) for p in NOTEBOOKS]
)
def test_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    notebook = nbformat.read(path, 4)
    if any("KERAS_INCEPTION_DATA" in cell.source for cell in notebook.cells):
        monkeypatch.setenv("KERAS_INCEPTION_DATA", str(request.getfixturevalue("data_folder")))
    else:
        monkeypatch.delenv("KERAS_INCEPTION_DATA", raising=False)
    monkeypatch.setenv("KERAS_INCEPTION_OFFLINE", "1")
    monkeypatch.setenv("KERAS_INCEPTION_HOME", str(tmp_path / "home"))
    run(notebook, tmp_path)
    shown = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    noise = [output.text for output in shown if output.output_type == "stream" and output.name == "stderr"]
    assert not noise
    assert any("image/png" in output.get("data", {}) for output in shown)


class Colab(types.ModuleType):
    """Stands for `google.colab`: what a notebook asks Drive and the browser to do."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch):
        super().__init__("google.colab")
        self.mounted: list[str] = []
        self.downloaded: list[str] = []
        self.drive = types.SimpleNamespace(mount=self.mounted.append)
        self.files = types.SimpleNamespace(download=self.downloaded.append)
        monkeypatch.setitem(sys.modules, "google", types.ModuleType("google"))
        monkeypatch.setitem(sys.modules, "google.colab", self)


def test_the_run_is_stored_on_drive_on_request(monkeypatch: pytest.MonkeyPatch) -> None:
    colab = Colab(monkeypatch)
    cells = nbformat.read(ROOT / "colab" / "02_fine_tune.ipynb", 4).cells
    [choice] = [cell.source for cell in cells if "drive.mount" in cell.source]
    for source in (choice, choice.replace("KEEP_ON_DRIVE = False", "KEEP_ON_DRIVE = True")):
        names: dict = {"Path": Path}
        exec(source, names)
        assert names["RUN"].is_relative_to("/content/drive/MyDrive") == bool(colab.mounted)
    assert colab.mounted == ["/content/drive"]


@pytest.mark.parametrize("path", NOTEBOOKS[:3], ids=lambda path: path.stem)
def test_colab_downloads_the_file_for_phones(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    *_, last = [cell.source for cell in nbformat.read(path, 4).cells if cell.cell_type == "code"]
    exec(last, {"file": Path("phone.tflite")})  # here nothing happens
    colab = Colab(monkeypatch)
    exec(last, {"file": Path("phone.tflite")})
    assert colab.downloaded == ["phone.tflite"]


def run(notebook: nbformat.NotebookNode, folder: Path) -> None:
    """Execute all cells in that folder. A failing cell is shown with its error."""
    client = nbclient.NotebookClient(
        notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    )
    try:
        client.execute()
    except CellExecutionError as error:
        pytest.fail(COLOURS.sub("", str(error)), pytrace=False)


def test_a_cell_that_fails_is_shown(tmp_path: Path) -> None:
    cells = [nbformat.v4.new_code_cell("paper = 1998"), nbformat.v4.new_code_cell("paper / 0")]
    with pytest.raises(pytest.fail.Exception) as failure:
        run(nbformat.v4.new_notebook(cells=cells), tmp_path)
    assert "paper / 0" in str(failure.value)
    assert "ZeroDivisionError: division by zero" in str(failure.value)
