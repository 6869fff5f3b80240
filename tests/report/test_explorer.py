"""The explorer carries the effects of the table, the first images of all runs before the second of any."""

import base64
import json
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from dovision.report.explorer import STEPS, explorer
from dovision.report.figures.overlay import Overlay
from dovision.report.inline_assets import SizeBudget
from dovision.results.image_tables import write_boxes, write_object_masks
from dovision.results.run_record import read_sweep
from dovision.results.tables import read_effects
from dovision.results.thumbnails import samples_in_conditions
from dovision.types import BOX_COLUMNS

PLENTY = 10_000_000


@pytest.fixture(scope="module")
def runs(sweep):
    return [run for run in read_sweep(sweep) if run.state == "completed"]


@pytest.fixture(scope="module")
def everything(runs):
    """All entries of the three runs."""
    return explorer(runs, SizeBudget(PLENTY))["entries"]


def test_every_effect_is_that_of_the_table(runs, everything):
    entry = everything[1]
    assert entry["job"] == "grid 4 x 4, grid of cells, seed 1"
    assert (entry["image"], entry["label"]) == ("digit_0000.png", "0")
    assert entry["boxes"][5] == [8, 8, 16, 16]
    effects = read_effects(runs[1].folder, [0])
    for condition in entry["conditions"]:
        rows = effects[effects["condition"] == condition["name"]]
        for name, column in (("effects", "effect"), ("log_effects", "log_odds_effect")):
            carried = condition[name]
            numbers = np.frombuffer(base64.b64decode(carried["shares"]), "<i2").reshape(16, 10) / STEPS
            table = rows.pivot(index="unit", columns="class", values=column).loc[entry["units"], entry["classes"]]
            expected = pytest.approx(table.to_numpy(float), abs=carried["largest"] / STEPS)
            assert numbers * carried["largest"] == expected


def test_all_images_and_conditions_of_a_job_share_the_scale_of_its_overlay(runs, everything):
    found = [entry for entry in everything if entry["job"] == "grid 4 x 4, grid of cells, seed 1"]
    assert len(found) == 3
    effects = read_effects(runs[1].folder, [0, 1, 2])
    largest = effects["effect"].abs().max()
    assert [entry["scale"] for entry in found] == pytest.approx([largest] * 3, rel=1e-5)
    (overlay,) = Overlay(order=0, most=4).of_run(runs[1])
    assert overlay.figure.axes[-1].get_ylim() == pytest.approx((-largest, largest))


def test_first_images_go_before_second_ones_and_what_does_not_fit_is_left_out(runs, everything):
    kept = {run.label: samples_in_conditions(run.folder, ["clean", "eps=0.05", "eps=0.2"]) for run in runs}
    expected = [(job, f"digit_{samples[place]:04}.png") for place in (0, 1) for job, samples in kept.items()]
    assert [(entry["job"], entry["image"]) for entry in everything[:6]] == expected
    assert expected[0] == ("grid 2 x 2, grid of cells, seed 0", "digit_0000.png")
    assert len(everything) == 9
    assert len(explorer(runs, SizeBudget(40_000))["entries"]) < 9
    nothing = explorer(runs, SizeBudget(10))
    assert nothing["pictures"] == nothing["entries"] == []


def test_a_picture_that_several_jobs_show_is_carried_once(runs):
    alone, twice = (explorer([runs[0]] * times, SizeBudget(PLENTY)) for times in (1, 2))
    assert twice["pictures"] == alone["pictures"]
    assert len(twice["entries"]) == 2 * len(alone["entries"])
    assert all(picture.startswith("data:image/") for picture in alone["pictures"])
    size = len(json.dumps(alone["entries"])) + sum(map(len, alone["pictures"]))
    assert len(explorer([runs[0]] * 2, SizeBudget(size))["entries"]) > len(alone["entries"])


def test_known_objects_are_carried_a_mask_of_a_class_in_place_of_its_boxes(everything, runs, tmp_path):
    """The first image has two boxes and two masks, one of them of a class that a box speaks for, too."""
    folder = tmp_path / "run"
    shutil.copytree(runs[1].folder, folder)
    second = samples_in_conditions(folder, ["clean", "eps=0.05", "eps=0.2"])[1]
    boxes = [(0, "zero", "0", 1, 2, 5, 9), (0, "tag", None, 20, 20, 24, 30), (second, "one", "1", 0, 0, 4, 4)]
    write_boxes(folder, pd.DataFrame(boxes, columns=BOX_COLUMNS))
    ring = np.zeros((32, 32), bool)
    ring[4:12, 6:16] = True
    ring[6:10, 8:14] = False
    write_object_masks(folder, [(0, {"0": ring, "frame": ~ring})])
    assert everything[1]["objects"] == []
    found = explorer([replace(runs[1], folder=folder)], SizeBudget(PLENTY))["entries"]
    first = {each["name"]: each for each in found[0]["objects"]}
    assert {name: (each["label"], each["box"]) for name, each in first.items()} == {
        "tag": (None, [20, 20, 24, 30]),
        "0": ("0", [4, 6, 12, 16]),
        "frame": ("frame", [0, 0, 32, 32]),
    }
    bits = np.unpackbits(np.frombuffer(base64.b64decode(first["0"]["mask"]), np.uint8), count=80).reshape(8, 10)
    assert np.array_equal(bits, ring[4:12, 6:16])
    assert first["tag"]["mask"] is None
    assert [(each["name"], each["mask"]) for each in found[1]["objects"]] == [("one", None)]
