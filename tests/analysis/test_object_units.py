from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch

from dovision.analysis.object_units import _over, first_half, latent_places, unit_matches
from dovision.store.activity import ACTIVITY, activity_columns
from dovision.store.map_tables import write_boxes
from dovision.store.tables import EFFECTS, METADATA, SAMPLES, TASK, write_table
from dovision.types import BOX_COLUMNS, Box, Task

pytestmark = pytest.mark.usefixtures("few_images")
TWO = Task("multiclass", ("healthy", "disease"))
IMAGES = 16
TAGGED = np.arange(IMAGES) % 4 < 2
TRUE = np.where(TAGGED, -0.1 - 0.01 * np.arange(IMAGES), 0)


def table(folder, name, columns, **metadata):
    rows = pa.table(columns)
    schema = rows.schema.with_metadata(METADATA | metadata)
    write_table(folder / name, schema, [rows.cast(schema)])


def write(folder, effects):
    """A run of a tag in every second pair of images; `effects` of units on the disease, shape (IMAGES,)."""
    samples = np.arange(IMAGES)
    table(folder, SAMPLES, {"sample": samples, "group": samples}, **{TASK: json.dumps(asdict(TWO))})
    rows = [
        {"sample": sample, "condition": "clean", "unit": unit, "class": name, "effect": sign * own[sample]}
        for sample in range(IMAGES)
        for unit, own in effects.items()
        for name, sign in (("healthy", -1), ("disease", 1))
        if unit != "tag" or TAGGED[sample]
    ]
    frame = pd.DataFrame(rows).assign(log_odds_effect=0.0)
    table(folder, EFFECTS, {name: frame[name].to_numpy() for name in frame})
    boxes = [(sample, "tag", None, 0, 8, 4, 12) for sample in samples[TAGGED]]
    write_boxes(folder, pd.DataFrame(boxes, columns=BOX_COLUMNS))
    return folder


@pytest.fixture
def judge(tmp_path):
    (tmp_path / "judge").mkdir()
    return write(tmp_path / "judge", {"tag": TRUE})


def test_the_unit_that_does_what_the_tag_does_is_found(judge, tmp_path):
    random = np.random.default_rng(0)
    latents = {"z0": random.normal(size=IMAGES), "z1": 0.5 * TRUE, "z2": -TRUE}
    (row,) = unit_matches(write(tmp_path, latents), judge).to_dict("records")
    assert (row["class"], row["kind"], row["unit"], row["units"]) == ("disease", "tag", "z1", 3)
    rest = ~first_half(judge).to_numpy()
    tagged = TAGGED & rest
    assert row["r"] == pytest.approx(1)
    assert row["true"] == pytest.approx(TRUE[tagged].mean())
    assert row["measured"] == pytest.approx(TRUE[tagged].mean() / 2)
    assert (row["elsewhere"], row["images"], row["others"]) == (0, tagged.sum(), (rest & ~TAGGED).sum())


def test_units_are_chosen_on_half_of_the_patients(judge):
    half = first_half(judge)
    assert half.sum() == IMAGES // 2
    assert 0 < half[TAGGED].sum() < TAGGED.sum()


def test_painted_boxes_of_a_kind_are_one_unit_without_their_controls(judge, tmp_path):
    (row,) = unit_matches(write(tmp_path, {"tag": 2 * TRUE, "tag control 0": -TRUE}), judge).to_dict("records")
    assert (row["unit"], row["units"]) == ("tag", 1)
    assert row["measured"] == pytest.approx(2 * row["true"])


def test_an_effect_that_never_varies_has_no_correlation(judge, tmp_path):
    (row,) = unit_matches(write(tmp_path, {"z0": np.zeros(IMAGES)}), judge).to_dict("records")
    assert np.isnan(row["r"])


def test_the_latent_that_is_active_on_the_tag_is_found_with_its_place(judge, tmp_path):
    folder = write(tmp_path, {"z0": TRUE, "z1": TRUE})
    code = torch.rand(IMAGES, 2, 3, 3)
    code[:, 1] = 0
    code[torch.from_numpy(TAGGED), 1, 0, 2] = 2.0  # of cells of 4 x 4 pixels: that of the tag
    tagged = np.flatnonzero(TAGGED & ~first_half(folder).to_numpy())
    code[tagged[0], 1, 2, 2] = 3.0  # but for one image
    table_of = activity_columns(torch.arange(IMAGES), ["z0", "z1"], code)
    write_table(folder / ACTIVITY, ACTIVITY.schema(), [table_of])
    (row,) = latent_places(folder, (1, 12, 12)).to_dict("records")
    assert (row["kind"], row["unit"], row["auroc"]) == ("tag", "z1", 1)
    assert (row["images"], row["others"]) == (len(tagged), IMAGES // 2 - len(tagged))
    assert row["pointing"] == 1 - 1 / len(tagged)
    assert row["area"] == pytest.approx(1 / 9)


def test_frames_controls_and_sets_are_neither_over_an_object_nor_its_control():
    """A tag in the left one of two cells, -3, and of the right one, -1; the frames do nothing."""
    left, right = Box(0, 0, 8, 4), Box(0, 4, 8, 8)
    units = {"r0c0 frame": (left, 0), "r0c0": (left, -3), "r0c0 control 1": (right, 5), "r0c1": (right, -1)}
    units |= {"r0c1 frame": (right, 0), "r0c0+r0c1": (Box(0, 0, 8, 8), -9)}
    rows = pd.DataFrame(
        [{"unit": unit, "log_odds_effect": effect, **box._asdict()} for unit, (box, effect) in units.items()]
    )
    tag = pd.DataFrame([{"sample": 0, "object": "tag", "label": None, **Box(1, 1, 3, 3)._asdict()}])
    (over,) = _over(rows.assign(sample=0, condition="clean", **{"class": "sick"}), tag, "clean").to_dict("records")
    assert (over["unit"], over["log_odds_effect"], over["elsewhere"]) == ("r0c0", -3, -1)
