"""A diagram shows the paper's figures: the boxes, their filters, and how often each module stands in the network."""

from itertools import pairwise
from pathlib import Path

import keras
import pytest

import keras_inception as ki
from keras_inception import InputError
from keras_inception.analysis.cost import blueprint
from keras_inception.analysis.table import info_table
from keras_inception.diagram.draw import draw
from keras_inception.diagram.placement import HEIGHT, Item, place


@pytest.fixture(scope="module")
def inception_v3() -> keras.Model:
    return blueprint(ki.InceptionV3)


def texts(path: Path) -> list[str]:
    """What is written in an SVG file, in order."""
    lines = path.read_text().splitlines()
    return [line.split(">")[1].split("<")[0] for line in lines if "<text" in line]


def test_the_figures_of_inception_v3(inception_v3: keras.Model, tmp_path: Path) -> None:
    path = draw(inception_v3, tmp_path / "inception_v3.svg")
    written = texts(path)
    # The column: what stands alone, and the modules with their number.
    for label in ("3x3 conv, 32, /2", "3x3 max pool, /2", "3 × A", "B", "4 × C", "D", "2 × E", "softmax"):
        assert label in written
    # Figures 5, 10, 6 and 7, the filters of all uses.
    assert [text for text in written if text.startswith(tuple(f"{letter}   " for letter in "ABCDEF"))] == [
        "A   35 × 35",
        "B   17 × 17",
        "C   17 × 17",
        "D   8 × 8",
        "E   8 × 8",
    ]
    assert written.count("filter concat") == 5
    for label in ("5x5 conv, 64", "1x1 conv, 32/64", "7x1 conv, 128/160/192", "3x1 conv, 384", "3x3 average pool"):
        assert label in written
    assert written.count("1x3 conv, 384") == 2  # the fan-out of figure 7, in one concatenation


def test_a_bottleneck_shows_its_linear_end(tmp_path: Path) -> None:
    written = texts(draw(blueprint(ki.MobileNetV2), tmp_path / "mobilenet_v2.svg"))
    for label in ("3x3 depthwise conv, /2, relu6", "1x1 conv, 144–960, relu6", "1x1 conv, 24–160, linear", "+"):
        assert label in written


def test_the_layers_of_a_dense_block_are_one_module(tmp_path: Path) -> None:
    written = texts(draw(blueprint(ki.DenseNet40_12), tmp_path / "densenet.svg"))
    assert written.count("12 × A") == 3
    assert written.count("3x3 conv, 12, linear") == 1


def test_auxiliary_heads_leave_the_column(tmp_path: Path) -> None:
    model = blueprint(ki.InceptionV1, aux_heads=True)
    written = texts(draw(model, tmp_path / "inception_v1.svg"))
    assert {"aux_1   1,000", "aux_2   1,000"} <= set(written)  # in the column, beside it
    assert "aux_1, aux_2" in written  # over the one module that they are


def test_the_same_network_makes_the_same_file(tmp_path: Path) -> None:
    model = blueprint(ki.LeNet5)
    first, second = (draw(model, tmp_path / name).read_bytes() for name in ("first.svg", "second.svg"))
    assert first == second
    assert draw(model, tmp_path / "lenet5.png").read_bytes().startswith(b"\x89PNG")
    assert draw(model, tmp_path / "lenet5.pdf").read_bytes().startswith(b"%PDF")


@pytest.mark.parametrize(
    ("name", "says"),
    [("there.svg", "exists already"), ("x.gif", "ending in .svg"), ("x", "ending in .svg"), ("no/x.svg", "no folder")],
)
def test_a_path_that_cannot_be_written(name: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "there.svg").write_text("mine")
    with pytest.raises(InputError, match=says):
        draw(blueprint(ki.LeNet5), tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["there.svg"]
    assert (tmp_path / "there.svg").read_text() == "mine"


def test_info_has_a_row_for_each_endpoint(inception_v3: keras.Model) -> None:
    table = info_table(ki.model_info("inception_v3"))
    columns = {str(column.header): list(column.cells) for column in table.columns}
    row = columns["name"].index("mixed_6b")
    assert [columns[key][row] for key in ("kind", "output", "field")] == ["4 branches", "17×17×768", "351"]
    assert columns["MACs"][row] == "374,063,104"
    assert [str(column.footer) for column in table.columns if column.footer] == ["total", "23,851,784", "5,713,216,096"]


# ----------------------------------------------------------------------------------------------------------- layout


def test_branches_stand_side_by_side_under_what_joins_them() -> None:
    names = ["input", "left", "right", "above right", "join"]
    sources: list[tuple[int, ...]] = [(), (0,), (0,), (2,), (1, 3)]
    drawing = place([Item(n, s, 1.0, n == "join") for n, s in zip(names, sources, strict=True)])
    below, left, right, above, join = drawing.spots
    assert left.right < right.left
    assert above.x == right.x
    assert left.y == right.y < above.y < join.y
    assert join.left <= left.left
    assert join.right >= right.right
    assert below.left <= left.left
    boxes = drawing.spots
    for line in drawing.lines:  # no line crosses a box: it keeps to its column
        for (x0, y0), (_, y1) in pairwise(line):
            inside = [s for s in boxes if s.left < x0 < s.right and y0 < s.y - HEIGHT / 2 and s.y + HEIGHT / 2 < y1]
            assert not inside


def test_a_shortcut_passes_beside_the_boxes_it_skips() -> None:
    sources: list[tuple[int, ...]] = [(), (0,), (1,), (2, 0)]
    drawing = place([Item(str(i), s, 1.0) for i, s in enumerate(sources)])
    shortcut = drawing.lines[-1]
    assert shortcut[0][0] == shortcut[1][0] < min(spot.left for spot in drawing.spots[1:3])
    assert drawing.spots[0].left <= shortcut[0][0]
    assert drawing.bounds[0] <= shortcut[0][0]


def test_a_mesh_has_no_overlapping_boxes() -> None:
    """Two scales that read each other at every depth, as in MSDNet."""
    sources: list[tuple[int, ...]] = [(), (0,), (0,)]
    for depth in range(1, 6):
        fine, coarse = 2 * depth - 1, 2 * depth
        sources += [(fine,), (fine, coarse)]
    spots = place([Item(str(i), s, 1.0) for i, s in enumerate(sources)]).spots
    for one in spots:
        assert not [other for other in spots if other.y == one.y and one.x < other.x < one.x + 1]
