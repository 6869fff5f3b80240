"""Make the pictures of README.md in docs/images/: a map of a real photograph, and the page of `make demo`.

python docs/pictures.py              the map; it takes the extras lite0 and segments, and half a minute
python docs/pictures.py outputs/demo the map, and a picture of this sweep's page, by Chromium
"""

from __future__ import annotations

import argparse
import subprocess
from pathlib import Path

import matplotlib
import skimage.data
import torch
from matplotlib.axes import Axes
from matplotlib.image import AxesImage
from PIL import Image
from torch import Tensor

import dovision as dv
from dovision.models.efficientnet_lite0 import IMAGENET, efficientnet_lite0
from dovision.report.style import EFFECT_COLOURS

matplotlib.use("Agg")
from matplotlib import pyplot as plt

IMAGES = Path(__file__).parent / "images"
SIZE = 224  # pixels
INTERVENTIONS = {
    "cells, black": dv.PixelGrid(14, 14, fill=dv.Constant(0.0)),
    "windows, blurred": dv.SlidingWindow(48, stride=16, fill=dv.Blur(sigma=10)),
    "segments, mean colour": dv.Segments(60, fill=dv.Mean()),
}


def draw_map(path: Path) -> None:
    """A cup of coffee, and the effects of three interventions on `espresso`."""
    classifier = efficientnet_lite0(pretrained=True, shape=(3, SIZE, SIZE), task="multiclass", classes=IMAGENET).eval()
    image = dv.to_batch(Image.fromarray(skimage.data.coffee()), size=SIZE)
    found = {title: dv.effect_map(classifier, image, each) for title, each in INTERVENTIONS.items()}
    control = next(iter(found.values())).control[0]
    figure, axes = plt.subplots(1, 4, figsize=(10, 3), layout="constrained")
    axes[0].imshow(image[0].permute(1, 2, 0))
    axes[0].set_title(f"{IMAGENET[int(control.argmax())]}: P = {float(control.max()):.2f}")
    for axis, (title, result) in zip(axes[1:], found.items(), strict=True):
        shown = _overlay(axis, image[0], result.map[0])
        axis.set_title(title)
        figure.colorbar(shown, ax=axis, location="bottom", shrink=0.9, label="effect on P(espresso)")
    for axis in axes:
        axis.set_axis_off()
    figure.savefig(path, dpi=100)
    with Image.open(path) as drawn:
        drawn.convert("RGB").save(path, optimize=True)


def _overlay(axis: Axes, image: Tensor, effect: Tensor) -> AxesImage:
    """The image in grey, and on it each unit's effect; the scale is the largest effect's."""
    largest = float(effect.abs().max())
    axis.imshow(image.mean(0), cmap="gray", vmin=-0.3, vmax=1.3)
    return axis.imshow(effect, cmap=EFFECT_COLOURS, vmin=-largest, vmax=largest, alpha=0.6)


def draw_page(sweep: Path, path: Path) -> None:
    """The top of a sweep's page, as Chromium shows it."""
    page = (sweep / "report" / "index.html").resolve().as_uri()
    window = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=1280,900"]
    subprocess.run(["chromium", *window, f"--screenshot={path}", page], check=True, capture_output=True)
    with Image.open(path) as taken:
        taken.convert("RGB").save(path, optimize=True)


def main() -> None:
    """Draw what was asked for."""
    parser = argparse.ArgumentParser(description="Make the pictures of README.md.")
    parser.add_argument("sweep", nargs="?", type=Path, help="of which the page is drawn, such as outputs/demo")
    sweep = parser.parse_args().sweep
    IMAGES.mkdir(exist_ok=True)
    torch.set_num_threads(1)
    draw_map(IMAGES / "map.png")
    if sweep is not None:
        draw_page(sweep, IMAGES / "page.png")


if __name__ == "__main__":
    main()
