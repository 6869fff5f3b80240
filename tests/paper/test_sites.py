"""Objects at several sites."""

import json
from dataclasses import asdict, replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from dovision.results.image_tables import write_boxes
from dovision.results.object_effects import first_half
from dovision.results.run_record import read_sweep
from dovision.results.tables import EFFECTS, METADATA, SAMPLES, TASK, write_table
from dovision.types import BOX_COLUMNS, Task
from made_runs import write_map_run
from paper.sites import Sites, unit_matches

ORIGIN = {"dataset_fingerprint": "films", "checkpoints": {"classifier": "one"}}
SITES = Sites(0)
TWO = Task("multiclass", ("healthy", "disease"))
IMAGES = 16
TAGGED = np.arange(IMAGES) % 4 < 2
TRUE = np.where(TAGGED, -0.1 - 0.01 * np.arange(IMAGES), 0)


def test_each_kind_of_object_has_its_unit_beside_its_true_effect(tmp_path):
    folder = tmp_path
    write_map_run(folder / "true", ["intervention=counterfactual"], images=48)
    write_map_run(folder / "painted", ["intervention=region_box"], painted=True, images=48)
    runs = [replace(run, record={**run.record, **ORIGIN}) for run in read_sweep(folder)]
    table, scatter = SITES.of_sweep(runs)
    assert (table.name, scatter.name) == ("sites", "tag_at_sites")
    assert table.table["intervention"].tolist() == ["boxes of objects at input"] * len(table.data)
    assert set(table.data["kind"]) == {"nodule", "opacity", "tag", "rib"}
    own = table.data.set_index(["class", "kind"]).loc[("opacity", "opacity")]
    assert (own["unit"], own["units"]) == ("opacity", 1)
    assert own["measured"] == pytest.approx(own["true"], abs=0.1)
    assert "n = 24 images, those of half of the patients." in table.caption
    assert set(scatter.data["site"]) == {"boxes of objects at input"}
    assert scatter.data["has_tag"].all()


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


def test_painted_boxes_of_a_kind_are_one_unit_without_their_controls(judge, tmp_path):
    (row,) = unit_matches(write(tmp_path, {"tag": 2 * TRUE, "tag control 0": -TRUE}), judge).to_dict("records")
    assert (row["unit"], row["units"]) == ("tag", 1)
    assert row["measured"] == pytest.approx(2 * row["true"])
