"""Plots, read back from matplotlib's own objects and from their SVG."""

import re
import xml.etree.ElementTree as ET
from itertools import pairwise

import numpy as np
import pytest
from reportlab.lib.styles import ParagraphStyle

from data.scenes import SCENES
from experiments.evaluation.confidence import Row
from experiments.report import plots
from experiments.report.confusions import confusions
from experiments.report.order import order_of
from experiments.report.page import Plot
from experiments.report.render import FONT, INK, png, svg
from experiments.report.trade_off import Point, trade_off
from experiments.submission.technical_report import fonts, gallery
from students.device.cost import Cost, Part

SCORES = {f"test/accuracy/device/{d}{e}": v for d in "ab" for e, v in (("", 0.5), ("/low", 0.25), ("/high", 0.625))}


def test_bars_and_whiskers_are_the_shares() -> None:
    """Oracle: the shares given, in percent; whiskers from 25 to 62.5 around 50."""
    (axis,) = plots.shares({"one": SCORES, "two": SCORES}, "device").axes
    assert [bar.get_width() for bar in axis.patches] == [50] * 4
    ends = {round(x, 6) for lines in axis.collections for path in lines.get_paths() for x in path.vertices[:, 0]}
    assert ends == {25.0, 62.5}
    assert [label.get_text() for label in axis.get_yticklabels()] == ["a", "b"]


def test_a_cell_is_as_dark_as_its_share_of_the_row() -> None:
    """Oracle: 3 of 4 and 1 of 4 by hand, in the cells, under the pointer and as the recall; a class without clips is
    empty and has none, and no division by zero."""
    (axis,) = confusions([[3, 1], [0, 0]], ["bus", "tram"]).axes
    alphas = [square.get_alpha() for square in axis.patches]  # of cells with clips in them
    assert len(alphas) == 2
    assert alphas[0] == pytest.approx(3 * alphas[1])
    assert [word.get_text() for word in axis.texts] == ["3", "1", "75 %", "-", "recall"]
    drawn = svg(confusions([[3, 1], [0, 0]], ["bus", "tram"]), "x")
    tips = re.findall("<title>(.*?)</title>", drawn)
    assert tips == ["bus, answered bus: 3 of 4 (75.0 %)", "bus, answered tram: 1 of 4 (25.0 %)"]


def test_scenes_that_are_alike_stand_side_by_side() -> None:
    """Oracle: the three groups of DCASE 2020 Task 1, subtask B, by hand; of other classes the two that are taken for
    each other are neighbours; without counts their own order."""
    figure = confusions(np.eye(10, dtype=int).tolist(), SCENES)
    words = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert words[:3] == ["airport", "metro station", "shopping mall"]
    assert sorted(words[3:7]) == ["park", "public square", "street pedestrian", "street traffic"]
    assert words[7:] == ["bus", "metro", "tram"]
    counts = [[5, 0, 4, 0], [0, 9, 0, 0], [4, 0, 5, 0], [0, 1, 0, 8]]
    order = order_of(["cat", "rain", "dog", "siren"], counts)
    assert abs(order.index(0) - order.index(2)) == 1
    assert sorted(order) == [0, 1, 2, 3]
    assert order_of(["cat", "rain", "dog"]) == [0, 1, 2]
    scores = {f"test/accuracy/scene/{name}": share for name, share in (("cat", 0.2), ("rain", 0.9), ("dog", 0.5))}
    (axis,) = plots.shares({"run": scores}, "scene").axes
    assert [label.get_text() for label in axis.get_yticklabels()] == ["rain", "dog", "cat"]


@pytest.mark.parametrize("epochs", [1, 3, 7])
def test_epochs_are_whole_numbers(epochs: int) -> None:
    """Oracle: the ticks of both axes; without validation accuracies there is no axis for them."""
    rows = [{"epoch": e + 1, "loss": 1.0, "validation/accuracy": 0.5} for e in range(epochs)]
    axes = plots.curves({"run": rows}).axes
    assert all(float(tick).is_integer() for axis in axes for tick in axis.get_xticks())
    assert len(axes) == 2
    assert len(plots.curves({"run": [{"epoch": 1, "loss": 1.0}]}).axes) == 1


def test_layers_have_their_bytes_and_their_work() -> None:
    """Oracle: the rows given; a layer without operators does no work."""
    rows = [{"layer": "a", "bits": 4, "bytes": 10}, {"layer": "b", "bits": 8, "bytes": 30}]
    left, right = plots.layers(rows, {"b": 500}).axes
    assert [bar.get_width() for bar in left.patches] == [10, 30]
    assert [bar.get_width() for bar in right.patches] == [0, 500]
    assert len({bar.get_facecolor() for bar in left.patches}) == 2


def test_cycles_have_a_bar_each_and_the_front_end_is_the_first() -> None:
    """Oracle: the numbers given; 900 cycles for 300 multiply-accumulates are 3 each."""
    layers = [Part("a", 500, 900, 300), Part("relu", 10, 20)]
    left, right = plots.cycles(Cost(layers, Part("front end", 600, 1000), {}, {})).axes
    assert [bar.get_width() for bar in left.patches] == [1000, 900, 20]
    assert [bar.get_width() for bar in right.patches] == [0, 3, 0]
    assert [label.get_text() for label in left.get_yticklabels()] == ["front end", "a", "relu"]
    assert len({bar.get_facecolor() for bar in left.patches}) == 2
    assert len(plots.cycles(Cost(layers, None, {}, {})).axes[0].patches) == 2


def test_a_plot_in_a_page_is_all_its_own() -> None:
    """Oracle: XML's own parser; two plots share no id, every reference has its target, words are words, and no
    colour of paper or ink is left."""
    name = "x & <y> $5_{"
    points = [Point(name, 0.5, 12_310, 4_354_304, "own", on_front=True, label=name)]
    limits = {"parameter_bytes": 128_000, "macs": 30_000_000}
    texts = [svg(trade_off(points, limits), title) for title in ('a "quoted" one', "another")]
    ids = []
    for text in texts:
        tree = ET.fromstring(text)
        own = [element.get("id") for element in tree.iter() if element.get("id")]
        assert len(set(own)) == len(own)
        assert {*re.findall(r'href="#([^"]+)"', text), *re.findall(r"url\(#([^)]+)\)", text)} <= {*own}
        assert "x & <y> $5_{" in "".join(tree.itertext())
        assert INK not in text
        assert "http" not in re.sub(r'xmlns\S*="[^"]*"', "", text)
        ids.append(set(own))
    assert not ids[0] & ids[1]


def test_equal_plots_are_equal_files() -> None:
    """Oracle: equal bytes, of SVG and PNG."""
    rows = [
        {"epoch": e, "loss": 1 / e, "validation/log_loss": 2 / e, "validation/accuracy": 0.1 * e} for e in (1, 2, 3)
    ]
    first, second = (plots.curves({"run": rows}) for _ in range(2))
    assert svg(first, "n") == svg(second, "n")
    assert png(first, 50) == png(second, 50)


def test_points_are_as_large_as_their_share_of_clips() -> None:
    """Oracle: areas grow linearly from the smallest point by the share of clips."""
    rows = [{"confidence": 0.3, "accuracy": 0.2, "items": 1}, {"confidence": 0.9, "accuracy": 0.7, "items": 3}]
    (axis,) = plots.reliability({"run": rows}).axes
    (points,) = axis.collections
    np.testing.assert_allclose(points.get_offsets(), [[30, 20], [90, 70]])
    small, large = points.get_sizes()
    empty = (3 * small - large) / 2
    assert large - empty == pytest.approx(3 * (small - empty))
    tips = ["run: 1 clips, confidence 30 %, accuracy 20 %", "run: 3 clips, confidence 90 %, accuracy 70 %"]
    uses = ET.fromstring(svg(axis.figure, "x")).iter("use")
    assert [use[0].text for use in uses if len(use)] == tips


def test_a_curve_goes_through_its_points_and_has_a_ring_at_the_threshold() -> None:
    """Oracle: the rows given, in percent; a run without a curve draws nothing, a threshold that answers nothing has no
    ring."""
    rows = [Row(0.9, 0.25, 1.0), Row(0.2, 1.0, 0.5)]
    (axis,) = plots.coverage({"a": (rows, Row(0.5, 0.5, 0.75)), "b": ([], None), "c": (rows, Row(1.0, 0.0, None))}).axes
    lines = [np.transpose(line.get_data()).tolist() for line in axis.lines]
    assert lines == [[[25, 100], [100, 50]], [[50, 75]], [[25, 100], [100, 50]]]


def test_names_in_a_plot_are_shown_as_escapes(recwarn: pytest.WarningsRecorder) -> None:
    """Oracle: Python's escapes, by hand; letters that matplotlib's font lacks stand in the text, for the browser's."""
    drawn = svg(confusions([[1, 0], [0, 1]], ["a\x1b[2J", "b\u202e"]), "x")
    assert drawn.replace("\n", "").isprintable()
    assert r"a\x1b[2J" in drawn
    assert "東京" in svg(confusions([[1, 0], [0, 1]], ["東京", "b"]), "y")
    assert not [str(warning.message) for warning in recwarn if "Glyph" in str(warning.message)]


def test_a_wide_plot_has_a_row_of_its_own_in_a_report() -> None:
    """Oracle: the rows by hand: two side by side, a wide one across both, then one alone; each as wide as its place."""
    narrow = png(plots.reliability({"run": []}), 50)
    wide = png(confusions([[1, 0], [0, 1]], ["a", "b"]), 50)
    fonts()
    table = gallery([("1", narrow), ("2", narrow), ("3", wide), ("4", narrow)], {"caption": ParagraphStyle("caption")})
    widths = [[cell[0].drawWidth for cell in row if cell] for row in table._cellvalues]
    assert [len(row) for row in widths] == [2, 1, 1]
    assert widths[1][0] > 1.9 * widths[0][0]
    assert widths[2] == widths[0][:1]


def test_names_of_points_hide_nothing_and_do_not_leave_the_plot() -> None:
    """Oracle: matplotlib's own layout: the boxes of the words, drawn, are inside the axes, apart from each other, and
    hold no other point; where there is no room there is no word, and the words under the pointer are there all the
    same."""
    crowd = [(0.6 + n / 400, 120_000 + n) for n in range(8)]
    points = [Point(f"crowd {n}", a, c, 200 * c, "x", label=f"crowd {n}") for n, (a, c) in enumerate(crowd)]
    points += [Point(name, 0.4, c, 200 * c, "own", label=name) for name, c in (("left", 9_000), ("right", 127_000))]
    figure = trade_off(points, {"parameter_bytes": 128_000, "macs": 30_000_000})
    drawn = svg(figure, "x")
    figure.canvas.draw()
    for axis, cost in zip(figure.axes, ("parameter_bytes", "macs"), strict=True):
        boxes = {text.get_text(): text.get_window_extent() for text in axis.texts}
        assert {"left", "right"} <= boxes.keys()
        assert len(boxes) < len(points)
        for name, box in boxes.items():
            assert axis.bbox.x0 <= box.x0
            assert box.x1 <= axis.bbox.x1
            assert not any(box.overlaps(other) for title, other in boxes.items() if title != name)
            places = [axis.transData.transform((getattr(p, cost), 100 * p.accuracy)) for p in points if p.name != name]
            assert not any(box.contains(*place) for place in places)
    assert all(drawn.count(f"<title>{point.name}: ") == 2 for point in points)


@pytest.mark.parametrize(("classes", "places"), [(10, "two"), (50, "three")])
def test_names_of_many_classes_do_not_touch(classes: int, places: str) -> None:
    """Oracle: matplotlib's own layout: the names of rows lie apart, none is smaller than the page's smallest text, and
    the plot takes the places on a page that make it so."""
    figure = confusions(np.eye(classes, dtype=int).tolist(), [f"class number {n}" for n in range(classes)])
    svg(figure, "x")
    (axis,) = figure.axes
    boxes = [label.get_window_extent() for label in axis.get_yticklabels()]
    assert not any(one.overlaps(other) for one, other in pairwise(boxes))
    assert {label.get_fontsize() for label in axis.get_yticklabels()} == {FONT}
    assert Plot("", "", figure, "").places == places
