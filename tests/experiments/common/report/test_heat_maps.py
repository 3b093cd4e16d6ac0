"""Heat maps can be read: no text overlaps, scales are named, figures grow with what they show."""

from itertools import pairwise, product

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from experiments.common.report import heat_maps
from experiments.common.report.heat_maps import plot_alignment, plot_confusion, shorten


@pytest.fixture
def drawn(monkeypatch):
    """The figures that are written, without the time that writing takes."""
    figures = []
    monkeypatch.setattr(heat_maps, "save_figure", lambda figure, path: figures.append(figure))
    return figures


def boxes(figure, texts):
    renderer = FigureCanvasAgg(figure).get_renderer()
    return [text.get_window_extent(renderer) for text in texts if text.get_text()]


def confusion(classes: int, count: int) -> np.ndarray:
    """Up to three neighbors in each row are occupied, with 90%, 10% and less than 1%."""
    matrix = np.zeros((classes, classes), int)
    shares = (0.9, 0.0995, 0.0005)[:classes]
    for row, (step, share) in product(range(classes), enumerate(shares)):
        matrix[row, (row + step) % classes] = round(share * count)
    return matrix


@pytest.mark.parametrize("classes", [2, 7, 12, 30])
def test_the_text_of_each_cell_fits_into_it(drawn, tmp_path, classes):
    names = [f"class {number} with a long name, ${number}" for number in range(classes)]
    plot_confusion(tmp_path / "confusion.png", {"GRU": confusion(classes, 123456)}, names)
    [figure] = drawn
    figure.draw_without_rendering()
    axis, bar = figure.axes
    side = axis.get_window_extent().width / classes
    shown = boxes(figure, axis.texts)
    assert shown
    assert max(max(box.width, box.height) for box in shown) < 0.95 * side
    labels = boxes(figure, axis.get_yticklabels())
    assert not any(one.overlaps(other) for one, other in pairwise(labels))
    assert len({label.get_text() for label in axis.get_xticklabels()}) == classes
    assert bar.get_ylabel() == "share of the true class, %"


def test_a_confusion_matrix_leaves_zeros_out_and_grows(drawn, tmp_path):
    for classes in (3, 9, 18):
        names = [str(number) for number in range(classes)]
        plot_confusion(tmp_path / "confusion.png", {"GRU": confusion(classes, 2000)}, names)
    heights = [figure.get_size_inches()[1] for figure in drawn]
    assert heights == sorted(heights)
    assert heights[-1] > 1.5 * heights[1]
    small, middle, _ = (figure.axes[0] for figure in drawn)
    assert {text.get_text() for text in small.texts} == {"1,800\n90%", "199\n10%", "1\n<1%"}
    assert [text.get_text() for text in middle.texts].count("<1") == 9
    assert len(middle.texts) == np.count_nonzero(confusion(9, 2000))
    assert middle.get_xlabel() == "predicted class"
    assert middle.get_ylabel() == "true class (examples)"


def test_many_classifiers_are_drawn_in_rows(drawn, tmp_path):
    matrices = {f"classifier {number}": confusion(8, 100) for number in range(4)}
    plot_confusion(tmp_path / "confusion.png", matrices, list("abcdefgh"))
    assert drawn[0].get_size_inches()[0] < heat_maps.WIDEST + 2
    assert sum(bool(axis.get_title()) for axis in drawn[0].axes) == 4


def test_attention_has_a_named_scale(drawn, tmp_path):
    sharp, flat = np.eye(3, 4), np.full((90, 4), 0.25)
    plot_alignment(tmp_path / "attention.png", [(list("abcd"), ["␣x", "$y$", "</s>"], sharp)])
    plot_alignment(tmp_path / "attention.png", [(list("abcd"), list(map(str, range(90))), flat)])
    for figure, top in zip(drawn, (1, 0.25), strict=True):
        axis, bar = figure.axes
        assert bar.get_ylabel() == "attention weight"
        assert axis.images[0].get_clim() == (0, top)
        assert axis.get_xlabel()
        assert axis.get_ylabel()
        figure.draw_without_rendering()
        labels = boxes(figure, axis.get_yticklabels())
        assert not any(one.overlaps(other) for one, other in pairwise(labels))
    assert drawn[1].get_size_inches()[1] < 12


def test_a_label_keeps_its_beginning_and_its_end():
    assert shorten("short") == "short"
    assert shorten("a class with a very long name") == "a class with…ng name"
    assert shorten("$5") == r"\$5"
