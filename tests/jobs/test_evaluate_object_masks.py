"""Runs on images with masks of objects: maps are judged by the masks of their classes, and figures outline these."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from dovision.jobs.hydra_main import evaluate as main
from dovision.report.report_figure import Catalogue
from dovision.results.explanation_metrics import agreements
from dovision.results.image_tables import AS_IS, read_maps, read_object_masks
from dovision.results.run_record import read_sweep

SIDE = 32  # pixels
NUMBERS = {"cat": 1, "dog": 2}


def of_dog() -> np.ndarray:
    mask = np.zeros((SIDE, SIDE), bool)
    mask[6:26, 6:11] = mask[21:26, 6:26] = True
    return mask


def write_pictures(root: Path) -> Path:
    """Noise with a bright L for a dog, and one upside down for a cat; label maps of them; boxes around them."""
    random = np.random.default_rng(0)
    (root / "masks").mkdir(parents=True)
    rows = []
    for number in range(32):
        name = ("cat", "dog")[number % 2]
        mask = of_dog() if name == "dog" else of_dog()[::-1, ::-1]
        pixels = random.integers(0, 90, (SIDE, SIDE)) + 120 * mask
        Image.fromarray(pixels.astype(np.uint8)).save(root / f"{number}.png")
        Image.fromarray((NUMBERS[name] * mask).astype(np.uint8)).save(root / "masks" / f"{number}.png")
        split = "test" if number >= 24 else ("val" if number >= 18 else "train")
        rows.append((f"{number}.png", name, split, 6, 6, 26, 26))
    table = pd.DataFrame(rows, columns=["path", "label", "split", "left", "top", "right", "bottom"])
    table.to_csv(root / "metadata.csv", index=False)
    return root


@pytest.fixture(scope="module")
def run(tmp_path_factory, run_command):
    root = write_pictures(tmp_path_factory.mktemp("pictures"))
    masks = ("dataset.masks.folder=masks", "dataset.masks.units={cat: 1, dog: 2}", "dataset.masks.missing=skip")
    data = ("dataset=table", f"dataset.root={root}", "dataset.classes=[cat,dog]", "dataset.shape=[1,32,32]", *masks)
    maps = ("explainer=[grad_cam,center_map,brightness_map]", "explanation.cells=16", "explanation.steps=2")
    few = ("explanation.noise=0", "training.classifier.epochs=0", "intervention.rows=2", "intervention.columns=2")
    assert run_command(main, *data, *maps, *few, f"output_root={root / 'out'}") == 0
    (run,) = read_sweep(root / "out" / "evaluate")
    return run


def test_the_table_has_the_mask_of_each_image_and_what_is_logged_is_what_the_table_gives(run):
    masks = read_object_masks(run.folder)
    assert sorted(masks) == list(range(8))
    assert {name for own in masks.values() for name in own} == {"cat", "dog"}
    for own in masks.values():
        ((name, mask),) = own.items()
        np.testing.assert_array_equal(mask if name == "dog" else mask[::-1, ::-1], of_dog())
    logged = pd.read_csv(run.folder / "csv" / "metrics.csv").iloc[-1]
    found = agreements(run.folder).groupby("explainer")[["pointing", "energy"]].mean()
    for explainer, numbers in found.iterrows():
        for metric in ("pointing", "energy"):
            assert logged[f"{metric}/{explainer}"] == pytest.approx(numbers[metric], rel=1e-5)


def test_maps_are_judged_by_the_mask_of_their_class_and_not_by_its_box(run):
    found = agreements(run.folder)
    cells = of_dog().reshape(16, 2, 16, 2).mean((1, 3))
    np.testing.assert_allclose(found["area"], cells.mean())
    assert cells.mean() < 0.45 * 20 * 20 / 32**2  # of the box
    maps = read_maps(run.folder)
    for _, row in maps[maps["variant"] == AS_IS].iterrows():
        covered = cells if row["class"] == "dog" else cells[::-1, ::-1]
        positive = row["cells"].reshape(16, 16).clip(min=0)
        own = found[(found["sample"] == row["sample"]) & (found["explainer"] == row["explainer"])]
        if row["state"] == "ok":
            np.testing.assert_allclose(own["energy"], (positive * covered).sum() / positive.sum(), rtol=1e-5)
    bright = found[found["explainer"] == "brightness_map"]
    assert (bright["pointing"] == 1).all()
    assert (bright["energy"] > 0.4).all()


def test_figures_outline_the_masks(run, svg_only):
    figures = {figure.name: figure for figure in Catalogue().of_run(run)}
    overlay = figures["overlay"]
    assert "outlines: objects that speak for the class" in overlay.caption
    drawn = [each for axes in overlay.figure.axes for each in axes.collections]
    assert len(drawn) >= 2  # a pale line under a coloured one
