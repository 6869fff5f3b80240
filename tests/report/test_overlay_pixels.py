"""Values over images, read back from the pixels of each surface as an eye would, in grey print and colour-blind too."""

import base64
import io

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from dovision.notebook.drawing import maps_over_images
from dovision.report.figures.effects import average_maps
from dovision.report.image_overlay import OverlayPanel, blended, overlay
from dovision.report.style import inline_svg, page_width, wrap_text
from dovision.types import BOX_COLUMNS
from dovision.view.pictures import map_link

CELL, SIDE = 8, 6  # pixels of a cell, and cells of a side
VALUES = np.linspace(-1, 1, SIDE * SIDE).reshape(SIDE, SIDE)  # of cells, from evidence against the class to for it
EVIDENCE = np.kron(VALUES, np.ones((CELL, CELL)))
PICTURE = np.random.default_rng(0).permuted(np.linspace(0, 255, EVIDENCE.size)).astype(np.uint8).reshape(EVIDENCE.shape)
PICTURE = np.kron(PICTURE[::CELL, ::CELL], np.ones((CELL, CELL), np.uint8))  # any grey below any value
MIDDLES = np.arange(SIDE) * CELL + CELL // 2
GRID = np.linspace(-1, 1, 401)
TOLERANCE = {"any": 0.02, "grey print": 0.06, "protanopia": 0.02, "deuteranopia": 0.02, "tritanopia": 0.04}
# Machado, Oliveira and Fernandes, 2009, doi:10.1109/TVCG.2009.113, severity 1; of linear RGB.
BLIND = {
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


def seen(colours, eye):
    """Colours in [0, 1] as an eye has them: RGB, or one grey."""
    if eye == "any":
        return colours
    if eye == "grey print":
        return colours @ [[0.299], [0.587], [0.114]]  # as a printer's driver has it (BT.601)
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    linear = np.clip(linear @ np.transpose(BLIND[eye]), 0, 1)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def read(pixels, eye="any", below=None):
    """Values of pixels of 8 bits, (N, 3), over greys of the image, (N,): those whose colours over them are nearest."""
    below = PICTURE[np.ix_(MIDDLES, MIDDLES)].ravel() if below is None else below
    every = blended(below[:, None], np.broadcast_to(GRID, (len(below), len(GRID))), 1.0)
    distance = np.linalg.norm(seen(every, eye) - seen(pixels[:, None, :3] / 255, eye), axis=-1)
    return GRID[distance.argmin(1)]


def rendered(figure, dpi=300):
    wrap_text(figure)
    figure.set_dpi(dpi)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())


def in_cells(pixels, axes):
    """Colours in the middle of each cell of a panel."""
    across, down = np.meshgrid(MIDDLES, MIDDLES)
    x, y = axes.transData.transform(np.stack([across.ravel(), down.ravel()], 1)).astype(int).T
    return pixels[len(pixels) - 1 - y, x]


def decoded(address):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(address.split(",", 1)[1]))).convert("RGBA"))


def overlay_figure():
    none = pd.DataFrame(columns=BOX_COLUMNS)
    return overlay([OverlayPanel("cat (0.90)", PICTURE, EVIDENCE, none, {}, "cat")] * 3, 1.0)


SURFACES = {  # figure, its panel of effects
    "overlay": lambda: (overlay_figure(), 1),
    "notebook": lambda: (
        maps_over_images(torch.from_numpy(PICTURE)[None, None] / 255, torch.from_numpy(EVIDENCE)[None], ["cat"], ""),
        0,
    ),
}


@pytest.mark.parametrize("eye", TOLERANCE)
@pytest.mark.parametrize("surface", SURFACES)
def test_effects_are_read_back_from_a_figure_of_a_column(surface, eye):
    with page_width(3.25):
        figure, panel = SURFACES[surface]()
        pixels = rendered(figure)
    assert figure.get_figwidth() == 3.25
    axes = figure.axes[panel]
    assert read(in_cells(pixels, axes), eye) == pytest.approx(VALUES.ravel(), abs=TOLERANCE[eye])
    assert axes.get_window_extent().width / figure.dpi * 25.4 >= 25  # millimetres


@pytest.mark.parametrize("eye", TOLERANCE)
def test_averages_are_read_back_over_plain_grey(eye):
    down, across = (numbers.ravel() * CELL for numbers in np.indices((SIDE, SIDE)))
    units = {"mean": -VALUES.ravel(), "top": down, "left": across, "bottom": down + CELL, "right": across + CELL}
    units |= {"condition": "clean", "class": "cat", "p_holm": 1.0, "log_odds": 0.0, "elsewhere": 0.0}
    figure = average_maps(pd.DataFrame(units), ["clean"], ["cat"], PICTURE.shape)
    below = np.full(SIDE * SIDE, 128, np.uint8)
    assert read(in_cells(rendered(figure), figure.axes[0]), eye, below) == pytest.approx(VALUES.ravel(), abs=0.06)


def test_the_colour_bar_has_the_colours_that_values_have_over_the_image():
    figure = overlay_figure()
    pixels = rendered(figure)
    bar = figure.axes[-1]
    values, shares = np.linspace(-0.9, 0.9, 19), (np.arange(32) + 0.5) / 32
    for grey, share in zip(np.linspace(0, 255, 32).astype(np.uint8)[2:-2], shares[2:-2], strict=True):
        x, y = bar.transData.transform([(share, value) for value in values]).astype(int).T
        shown = read(pixels[len(pixels) - 1 - y, x], below=np.full(19, grey))
        assert shown == pytest.approx(values, abs=0.05)
    ends = bar.transData.transform([(0.5, -1), (0.5, 1)])
    assert ends[0, 1] < ends[1, 1]  # evidence for the class is above


@pytest.mark.parametrize("eye", TOLERANCE)
def test_effects_are_read_back_from_the_figure_that_a_page_holds(eye):
    """Its pictures are data, the same on light and dark; text alone takes the page's colours."""
    saved = io.StringIO()
    overlay_figure().savefig(saved, format="svg")
    first = inline_svg(saved.getvalue(), "p").split('xlink:href="')[1].split('"')[0].replace("\n", "")
    picture = decoded(first)
    scale = len(picture) / len(PICTURE)
    places = (MIDDLES * scale).astype(int)
    shown = picture[np.ix_(places, places)].reshape(-1, 4)
    assert read(shown, eye) == pytest.approx(VALUES.ravel(), abs=TOLERANCE[eye])


def test_the_overlay_of_the_view_lies_over_its_image_as_a_figure_has_it():
    over = decoded(map_link(EVIDENCE, 1.0)) / 255
    below = blended(PICTURE, np.zeros_like(EVIDENCE), 1.0)
    shown = below + over[..., 3:] * (over[..., :3] - below)
    assert shown == pytest.approx(blended(PICTURE, EVIDENCE, 1.0), abs=1 / 255)
