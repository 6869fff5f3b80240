"""The dots of average effects, read back from the pixels that are drawn."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from dovision.report.figures._average_maps import average_maps
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
    left = np.arange(len(EFFECTS)) * 8
    boxes = {"top": 0, "left": left, "bottom": 8, "right": left + 8}
    frame = pd.DataFrame({"condition": "clean", "unit": left, "class": "a", "mean": EFFECTS, "p_holm": 0.01, **boxes})
    return average_maps(frame, ["clean"], ["a"], (8, 8 * len(EFFECTS)))


def test_every_dot_stands_out_from_its_cell(figure):
    figure.set_dpi(400)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())
    axes = figure.axes[0]
    for middle in np.arange(len(EFFECTS)) * 8 + 4:
        (x, y), (_, above) = axes.transData.transform([(middle, 4), (middle, 1)])
        dot, cell = (pixels[pixels.shape[0] - 1 - int(row), int(x)] for row in (y, above))
        assert contrast(dot, cell) >= 4.5


@pytest.mark.slow
def test_dots_keep_their_colours_on_a_dark_page(figure):
    """Where text takes the page's colour: the cell under a dot is a picture, and the same on light and dark."""
    saved = io.StringIO()
    figure.savefig(saved, format="svg")
    dots = inline_svg(saved.getvalue(), "p").split('PathCollection_1">')[1].split("</g>\n   </g>")[0]
    assert dots.count("<use") == len(EFFECTS)
    assert "#fefefe" in dots
    assert "currentColor" not in dots
