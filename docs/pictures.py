"""Make the pictures of README.md and of the method in docs/images/: of a real photograph, and the page of `make demo`.

python docs/pictures.py              the photograph's; it takes the extras lite0 and segments, and a minute
python docs/pictures.py outputs/demo the same, and a picture of this sweep's page, by Chromium
"""

from __future__ import annotations

import argparse
import subprocess
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import skimage.data
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image
from torch import Tensor

import dovision as dv
from dovision.models.efficientnet_lite0 import IMAGENET, efficientnet_lite0
from dovision.notebook.drawing import image_bytes
from dovision.report.image_overlay import colour_bar, draw_overlay
from dovision.report.style import COLOURS, FAINT

matplotlib.use("Agg")
from matplotlib import pyplot as plt

IMAGES = Path(__file__).parent / "images"
SIZE = 224  # pixels
GRID = dv.PixelGrid(14, 14, fill=dv.Constant(0.0))
ATTACK_EPS = "1/255"
INTERVENTIONS = {
    "cells, black": dv.PixelGrid(14, 14, fill=dv.Constant(0.0)),
    "windows, blurred": dv.SlidingWindow(48, stride=16, fill=dv.Blur(sigma=10)),
    "segments, mean colour": dv.Segments(60, fill=dv.Mean()),
}


def draw_map(classifier: dv.Classifier, image: Tensor, path: Path) -> None:
    """A cup of coffee, and the effects of three interventions on `espresso`."""
    found = {title: dv.effect_map(classifier, image, each) for title, each in INTERVENTIONS.items()}
    control = next(iter(found.values())).control[0]
    limit = max(float(result.map.abs().max()) for result in found.values())
    figure, axes = plt.subplots(1, 4, figsize=(10, 3), layout="constrained")
    axes[0].imshow(image[0].permute(1, 2, 0))
    axes[0].set_title(f"{IMAGENET[int(control.argmax())]}: P = {float(control.max()):.2f}")
    for axis, (title, result) in zip(axes[1:], found.items(), strict=True):
        draw_overlay(axis, image_bytes(image[0]), result.map[0].double().numpy(), limit)
        axis.set_title(title)
    colour_bar(
        figure, list(axes[1:]), limit, "minus the effect on P(espresso)", location="bottom", shrink=0.4, aspect=40
    )
    axes[0].set_axis_off()
    _save(figure, path, dpi=100)


def draw_framework(classifier: dv.Classifier, image: Tensor, path: Path) -> None:
    """The method on the cup of coffee: the same interventions on the image as it is, and attacked.

    The painted cell is that of the largest effect on the class that the network gives, of which the bars show the
    probability.
    """
    zero = torch.zeros(1, dtype=torch.int64)
    attack = dv.PGD(eps=ATTACK_EPS, steps=20)
    attacked = attack(dv.Batch(image, classifier(image).argmax(1), zero, zero), classifier, attack.eps[0])
    rows = {"clean": image, f"attacked, $\\epsilon$ = {ATTACK_EPS}": attacked}
    with matplotlib.rc_context({"font.size": 7.5, "axes.titlesize": 7.5}):
        figure, axes = plt.subplots(2, 4, figsize=(6.75, 3.75))
        figure.subplots_adjust(left=0.04, right=0.985, bottom=0.15, top=0.95, wspace=0.12, hspace=0.36)
        results = [dv.effect_map(classifier, given, GRID) for given in rows.values()]
        limit = max(float(result.map.abs().max()) for result in results)
        for own, (name, given), result in zip(axes, rows.items(), results, strict=True):
            _framework_row(own, given, result, limit)
            own[0].text(-0.07, 0.5, name, rotation=90, ha="right", va="center", transform=own[0].transAxes)
        for axis, head in zip(axes[0], ("image $x$", "$do(u)$: one cell black", "", "map of all cells"), strict=True):
            if head:
                axis.set_title(head)
        below = figure.add_axes((0.78, 0.115, 0.2, 0.02))
        colour_bar(figure, None, limit, "fall of P(y)", cax=below, orientation="horizontal")
        below.tick_params(labelsize=6.5, length=2, pad=1)
        _save(figure, path, dpi=120)


def _framework_row(axes: Sequence[Axes], image: Tensor, result: dv.EffectResult, limit: float) -> None:
    """Image, image with a cell painted, probability before and after, and all effects."""
    target = int(result.target[0])
    unit = int(result.effect[0, :, target].argmin())
    box = GRID.region(tuple(image.shape[1:]), unit, 0)
    painted = image[0].clone()
    box.crop(painted).zero_()
    for axis, shown in zip(axes[:2], (image[0], painted), strict=True):
        axis.imshow(shown.permute(1, 2, 0))
        axis.set_axis_off()
    axes[1].add_patch(Rectangle((box.left, box.top), box.width, box.height, fill=False, edgecolor="white"))
    control = float(result.control[0, target])
    treated = control + float(result.effect[0, unit, target])
    bars = axes[2].bar(("$P(y | x)$", "$P(y | do(u), x)$"), (control, treated), color=(FAINT, COLOURS[0]), width=0.5)
    axes[2].bar_label(bars, fmt="%.2f", padding=1)
    axes[2].set(ylim=(0, 1.15), yticks=(), xlim=(-0.7, 1.7))
    axes[2].set_title(f"$y$: {IMAGENET[target]}")
    axes[2].set_box_aspect(1)
    axes[2].spines[["top", "right", "left"]].set_visible(False)
    draw_overlay(axes[3], image_bytes(image[0]), result.map[0].double().numpy(), limit)


def _save(figure: Figure, path: Path, dpi: int) -> None:
    figure.savefig(path, dpi=dpi)
    with Image.open(path) as drawn:
        drawn.convert("RGB").save(path, optimize=True)


def draw_page(sweep: Path, path: Path) -> None:
    """The top of a sweep's page, as Chromium shows it."""
    page = (sweep / "report" / "index.html").resolve().as_uri()
    window = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=1280,1080"]
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
    classifier = efficientnet_lite0(pretrained=True, shape=(3, SIZE, SIZE), task="multiclass", classes=IMAGENET).eval()
    image = dv.to_batch(Image.fromarray(skimage.data.coffee()), size=SIZE)
    draw_map(classifier, image, IMAGES / "map.png")
    draw_framework(classifier, image, IMAGES / "framework.png")
    if sweep is not None:
        draw_page(sweep, IMAGES / "page.png")


if __name__ == "__main__":
    main()
