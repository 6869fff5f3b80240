"""Interactions of units, and effects beyond frames, against pandas."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from torch import nn

import dovision as dv
from dovision.functional.effects import RESOLUTION
from dovision.functional.intervals import mean_interval
from dovision.results.average_effect import EFFECTS_BEYOND, effects_beyond
from dovision.results.effect_sums import CELL
from dovision.results.tables import EFFECTS, read_effects, read_samples
from made_runs import write_sums

IMAGES = 24


@pytest.fixture(scope="module")
def classifier() -> dv.Classifier:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(108, 3))
    return dv.wrap(network, ["a", "b", "c"])


def measured(classifier: dv.Classifier, intervention: dv.Intervention) -> dv.MeasuredEffects:
    images = torch.rand(IMAGES, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    return dv.effects(classifier, (images, torch.arange(IMAGES) % 3), intervention)


def test_means_and_intervals_are_those_of_the_differences_of_each_image(classifier):
    found = measured(classifier, dv.EdgeControl(dv.PixelGrid(2, 2), frame=1))
    rows = found.rows(range(IMAGES)).astype({"unit": str, "class": str})
    wide = rows.pivot(index="sample", columns=["unit", "class"], values="log_odds_effect").astype(float)
    frame = effects_beyond(found.folder).set_index(["unit", "class"])
    assert len(frame) == 4 * 3
    for unit, label in frame.index:
        value = (wide[unit, label] - wide[f"{unit} frame", label]).to_numpy()
        expected = mean_interval(value, np.arange(IMAGES))
        columns = [f"beyond_log_odds{end}" for end in ("", "_low", "_high")]
        got = frame.loc[(unit, label), columns].to_numpy(float)
        np.testing.assert_allclose(got, expected[:3], atol=1e-5)


def test_other_interventions_have_none(classifier):
    plain = measured(classifier, dv.PixelGrid(2, 2))
    assert effects_beyond(plain.folder).empty
    assert [*effects_beyond(plain.folder)] == EFFECTS_BEYOND


@pytest.fixture
def of_sets(tmp_path, write_run):
    """A run of 16 units, two of which are sets of others; one set has a matched control, which is no set of units."""
    run = write_run(tmp_path, eps=(0.2,), grid=None, images=60, maps=0).folder
    table = pq.read_table(run / EFFECTS)
    sets = {
        "channel 2": "channel 0+channel 1",
        "channel 3": "channel 0+channel 1+channel 4",
        "channel 5": "a+channel 1",
        "channel 6": "channel 1 control 0",
        "channel 7": "channel 0+channel 1 control 0",
    }
    units = table["unit"].to_pandas().astype(str).replace(sets).astype("category")
    column = pa.Array.from_pandas(units).cast(table.schema.field("unit").type)
    pq.write_table(table.set_column(table.schema.get_field_index("unit"), "unit", column), run / EFFECTS)
    write_sums(run)
    return run


@pytest.mark.usefixtures("few_images")
def test_an_interaction_is_the_effect_of_a_set_minus_the_sum_of_its_units(of_sets):
    found = effects_beyond(of_sets).set_index([*CELL])
    assert [*dict.fromkeys(found.index.get_level_values("unit"))] == [
        "channel 0+channel 1",
        "channel 0+channel 1+channel 4",
    ]
    rows = read_effects(of_sets, range(60)).merge(read_samples(of_sets)[["sample", "condition", "group"]])
    rows = rows.astype({"unit": str, "effect": float})
    for (condition, unit, name), row in list(found.iterrows())[::7]:
        cell = rows[(rows["condition"] == condition) & (rows["class"] == name)]
        effect = cell.pivot(index="sample", columns="unit", values="effect")
        additive = effect[unit.split("+")].sum(axis=1)
        difference = (effect[unit] - additive).to_numpy()
        group = cell.drop_duplicates("sample").set_index("sample")["group"].loc[effect.index].to_numpy()
        alone = mean_interval(difference, group, RESOLUTION, bounds=(-unit.count("+") - 1, unit.count("+") + 1))
        assert (row["effect"], row["effect_of_others"]) == pytest.approx((effect[unit].mean(), additive.mean()))
        assert (row["beyond"], row["beyond_low"], row["beyond_high"]) == pytest.approx(
            (difference.mean(), alone.low, alone.high)
        )
