"""Runs with masks: their tables, what page, figures and W&B show of them, and what a sweep resumes and refuses."""

import base64
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import dovision
from dovision.functional.geometry import paint
from dovision.jobs.hydra_main import evaluate as main
from dovision.report.explorer import explorer
from dovision.report.figures.overlay import effect_panels
from dovision.report.inline_assets import SizeBudget
from dovision.results.image_tables import read_maps, read_masks
from dovision.results.run_record import read_sweep
from dovision.results.tables import CLEAN, read_effects
from dovision.results.thumbnails import samples_in_conditions
from dovision.types import Box
from made_tables import write_table

SEGMENTS = ("intervention=segments", "intervention.segments=6", "explainer=effect_map")
SEGMENTS += ("intervention@explainer.effect_map.intervention=segments", "explainer.effect_map.intervention.segments=6")
SEGMENTS += tuple(f"~explainer.effect_map.intervention.{axis}" for axis in ("rows", "columns"))


@pytest.fixture(scope="module")
def run(fitted, dovision_evaluate, tmp_path_factory):
    """A completed run of superpixels, attacked and explained."""
    pytest.importorskip("skimage", reason="the extra segments is not installed")
    root = tmp_path_factory.mktemp("masks")
    (root / "checkpoints").symlink_to(fitted / "checkpoints")
    assert dovision_evaluate(f"output_root={root}", "attack=fgsm", "attack.eps=0.1", *SEGMENTS) == 0
    (run,) = read_sweep(root / "evaluate")
    return run


def test_masks_are_the_segments_of_a_pictured_image_which_the_map_of_the_explainer_is_painted_on(run):
    masks = read_masks(run.folder)
    samples = sorted({sample for sample, _ in masks})
    assert len(samples) == 3  # two, and one that the attack turns
    for sample in samples:
        effects = read_effects(run.folder, [sample])
        units = effects.drop_duplicates("unit")
        assert set(effects["condition"]) == {"clean", "eps=0.1"}
        assert {unit for own, unit in masks if own == sample} == set(units["unit"])
        boxes = [tuple(row) for row in units[["top", "left", "bottom", "right"]].astype(int).to_numpy()]
        covered = np.zeros((32, 32), dtype=int)
        for (top, left, bottom, right), unit in zip(boxes, units["unit"], strict=True):
            covered[top:bottom, left:right] += masks[sample, unit]
        assert (covered == 1).all()
    maps = read_maps(run.folder)
    assert set(maps["variant"]) == {"as is", "perturbed"}
    assert maps["cells"].map(lambda cells: np.isfinite(cells).all()).all()
    assert maps["cells"].map(np.ptp).max() > 0


def test_figures_page_and_dashboard_paint_the_pixels_of_masks_alone(run):
    masks = read_masks(run.folder)
    sample = samples_in_conditions(run.folder, [CLEAN, "eps=0.1"])[0]
    panels, rows, _ = effect_panels(run, [sample], [CLEAN])
    boxes = [tuple(row) for row in rows[["top", "left", "bottom", "right"]].astype(int).to_numpy()]
    shapes = [masks[sample, unit] for unit in rows["unit"]]
    expected = paint(32, 32, [Box(*box) for box in boxes], rows["effect"], shapes)
    np.testing.assert_allclose(panels[sample, CLEAN].values, -np.asarray(expected), atol=1e-6)
    assert len(np.unique(expected)) > 2
    entry = next(e for e in explorer([run], SizeBudget(10**7))["entries"] if len(e["units"]) == len(rows))
    for box, unit, mask in zip(entry["boxes"], entry["units"], entry["masks"], strict=True):
        size = (box[2] - box[0]) * (box[3] - box[1])
        bits = np.unpackbits(np.frombuffer(base64.b64decode(mask), np.uint8), count=size)
        assert np.array_equal(bits.astype(bool), masks[sample, unit].ravel())


def write_masks_of_digits(folder: Path, size: int = 32) -> Path:
    """A label map for each digit: a white disc in its middle."""
    rows, columns = np.indices((size, size)) - size / 2
    disc = Image.fromarray(((rows**2 + columns**2 < size**2 / 9) * 255).astype(np.uint8))
    folder.mkdir()
    for name in dovision.component("dataset", "digits").table("test")["name"]:
        disc.save(folder / f"{Path(name).stem}.png")
    return folder


def test_masks_in_files_are_painted_and_a_change_of_them_is_measured_again(fitted, dovision_evaluate, tmp_path):
    (tmp_path / "checkpoints").symlink_to(fitted / "checkpoints")
    masks = write_masks_of_digits(tmp_path / "masks")
    command = (f"output_root={tmp_path}", "intervention=mask_files", f"intervention.root={masks}")
    assert dovision_evaluate(*command) == 0
    (run,) = read_sweep(tmp_path / "evaluate")
    assert {unit for _, unit in read_masks(run.folder)} >= {"mask"}
    began = json.loads((run.folder / "run.json").read_text())["started"]
    assert dovision_evaluate(*command) == 0
    (same,) = read_sweep(tmp_path / "evaluate")
    assert json.loads((same.folder / "run.json").read_text())["started"] == began
    first = sorted(masks.iterdir())[0]
    Image.open(first).rotate(180, translate=(5, 0)).save(first)
    assert dovision_evaluate(*command) == 0
    (other,) = read_sweep(tmp_path / "evaluate")
    assert json.loads((other.folder / "run.json").read_text())["started"] != began


def test_wrong_masks_of_a_sweep_are_named_once_and_before_its_first_job(fitted, dovision_evaluate, tmp_path, capsys):
    (tmp_path / "checkpoints").symlink_to(fitted / "checkpoints")
    masks = write_masks_of_digits(tmp_path / "masks")
    for path in masks.iterdir():
        Image.open(path).resize((32, 20)).save(path)
    command = ("intervention=mask_files", f"intervention.root={masks}", "intervention.fill.value=0,1", "-m")
    assert dovision_evaluate(f"output_root={tmp_path}", *command) == 1
    assert capsys.readouterr().err.count("files of masks") == 1
    assert not list((tmp_path / "evaluate").glob("*/run.json"))


def test_a_column_that_a_sweeps_table_lacks_is_named_once_and_before_its_first_job(run_command, tmp_path, capsys):
    table = ("dataset=table", f"dataset.root={write_table(tmp_path / 'data')}", "dataset.classes=[cat,dog]")
    command = (*table, "dataset.columns.label=finding", "intervention.rows=2,3", f"output_root={tmp_path}", "-m")
    assert run_command(main, *command) == 1
    assert capsys.readouterr().err.count("must have a column 'finding'") == 1
    assert not list((tmp_path / "evaluate").glob("*/run.json"))
