"""docs/which_network.md and its chart follow from the measurements. `python -m docs.which_network` renews them."""

from itertools import combinations

from docs.which_network import CHART, COSTS, PAGE, Point, chart, extent, figure, page, points, unbeaten


def test_page_and_chart_are_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == page()
    assert CHART.read_text(encoding="utf-8") == chart()


def test_labels_cover_neither_each_other_nor_the_frame() -> None:
    known = points()
    made, labels = figure(known)
    for axes, names in zip(made.axes, labels, strict=True):
        assert [name.get_text() for name in names] == [point.name for point in known]
        boxes = [extent(name) for name in names]
        assert not [pair for pair in combinations(boxes, 2) if pair[0].overlaps(pair[1])]
        assert all(axes.bbox.x0 < box.x0 and box.x1 < axes.bbox.x1 for box in boxes)


def test_a_network_is_unbeaten_if_none_is_as_accurate_for_less() -> None:
    costs = dict.fromkeys(COSTS, 1.0)
    cheap, equal, dear, best = (
        Point(name, top1, top1, **costs | {"milliseconds": milliseconds})
        for name, top1, milliseconds in [("a", 60, 1), ("b", 60, 2), ("c", 55, 3), ("d", 80, 9)]
    )
    assert unbeaten([best, dear, equal, cheap], "milliseconds") == [cheap, best]
