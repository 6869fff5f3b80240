"""The dots of average effects, read back from the pixels that are drawn."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from dovision.report.figures.effects import average_maps, dots_text
from dovision.report.style import inline_svg

EFFECTS = np.linspace(-1, 1, 21)


def contrast(one, other):
    """Contrast of two colours of 8 bits by WCAG 2, 1 to 21."""
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def luminance(colour):
    share = np.asarray(colour[:3]) / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


@pytest.fixture(scope="module")
def figure():
    """A row of cells from the largest effect against the class to the largest for it, all significant."""
    effects = np.where(np.arange(len(EFFECTS)) == 10, 1e-9, EFFECTS)  # of a size 0 there is no sign
    return drawn(cells(effects, effects))


def cells(effects, log_odds, p_holm=0.01):
    """A row of cells of one class, 8 pixels wide."""
    left = np.arange(len(effects)) * 8
    boxes = {"top": 0, "left": left, "bottom": 8, "right": left + 8}
    values = {"mean": effects, "log_odds": log_odds, "p_holm": p_holm}
    return pd.DataFrame({"condition": "clean", "unit": left, "class": "a", **values, **boxes})


def drawn(frame):
    return average_maps(frame, ["clean"], ["a"], (8, 8 * len(frame)))


def test_a_dot_is_where_the_log_odds_differ_from_zero_with_the_sign_of_the_colour():
    frame = cells(
        [0.3, 0.3, -0.3, -0.3, 0.3, 0.3], [1.0, -1.0, -1.0, 1.0, 1.0, np.nan], [0.01, 0.01, 0.01, 0.01, 0.2, np.nan]
    )
    (dots,) = drawn(frame).axes[0].collections
    assert dots.get_offsets().tolist() == [[4, 4], [20, 4]]
    assert "; a dot: the effect is shown to differ from 0 in log-odds, with the same sign (p < .05" in dots_text(frame)
    assert dots_text(frame.iloc[[1, 3, 4]]).startswith("; no effect is shown to differ from 0 in log-odds")
    assert dots_text(frame.iloc[5:]) == ""


def test_every_dot_stands_out_from_its_cell(figure):
    figure.set_dpi(400)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())
    axes = figure.axes[0]
    for middle in np.arange(len(EFFECTS)) * 8 + 4:
        (x, y), (_, above) = axes.transData.transform([(middle, 4), (middle, 1)]).astype(int)
        cell, dot = pixels[len(pixels) - 1 - above, x], pixels[len(pixels) - 1 - y, x - 20 : x + 20]
        assert max(contrast(colour, cell) for colour in dot) >= 4.5  # its white middle or its black edge


@pytest.mark.slow
def test_dots_keep_their_colours_on_a_dark_page(figure):
    """Where text takes the page's colour: the cell under a dot is a picture, and the same on light and dark."""
    saved = io.StringIO()
    figure.savefig(saved, format="svg")
    dots = inline_svg(saved.getvalue(), "p").split('PathCollection_1">')[1].split("</g>\n   </g>")[0]
    assert dots.count("<use") == len(EFFECTS)
    assert "#fefefe" in dots
    assert "currentColor" not in dots
