"""docs/which_network.md and its chart follow from the measurements. `python -m docs.which_network` renews them."""

import re
from itertools import combinations

from docs.which_network import CHART, COSTS, PAGE, Point, chart, extent, figure, page, points, unbeaten


def test_page_and_chart_are_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == page()
    assert CHART.read_text(encoding="utf-8") == chart()


def test_what_the_chart_draws_again_is_in_it() -> None:
    """Ticks and markers are drawn by reference; `slim` leaves out other names."""
    svg = CHART.read_text(encoding="utf-8")
    assert set(re.findall(r'href="#([^"]*)"', svg)) == set(re.findall(r' id="([^"]*)"', svg)) != set()


def test_labels_cover_neither_each_other_nor_the_frame() -> None:
    known = points()
    made, labels = figure(known)
    for axes, names in zip(made.axes, labels, strict=True):
        assert len(names) > 8
        boxes = [extent(name) for name in names]
        assert not [pair for pair in combinations(boxes, 2) if pair[0].overlaps(pair[1])]
        assert all(axes.bbox.x0 < box.x0 and box.x1 < axes.bbox.x1 for box in boxes)


def test_the_advice_holds() -> None:
    known = {point.name: point for point in points()}
    for cost in COSTS:
        assert known["mobilenet_v2"] in [point for point, _ in unbeaten(known.values(), cost)]
    slow = max(known["squeezenet1_1"].top1, known["alexnet"].top1)
    quickest = min(known["squeezenet1_1"].milliseconds, known["alexnet"].milliseconds)
    assert known["shufflenet_v2"].top1 > slow + 10
    assert known["shufflenet_v2"].milliseconds < quickest
    better = [known[name] for name in ("resnet50", "densenet121", "inception_v3", "xception")]
    assert all(p.top1 > known["vgg16"].top1 and p.macs < 0.6 * known["vgg16"].macs for p in better)


def test_a_network_is_unbeaten_if_none_is_as_accurate_for_less() -> None:
    costs = dict.fromkeys(COSTS, 1.0)
    cheap, equal, dear, best, unknown = (
        Point(name, top1, top1, **costs | {"milliseconds": milliseconds})
        for name, top1, milliseconds in [("a", 60, 1), ("b", 60, 2), ("c", 55, 3), ("d", 80, 9), ("e", 90, None)]
    )
    assert unbeaten([best, unknown, dear, equal, cheap], "milliseconds") == [(cheap, 1), (best, 9)]
