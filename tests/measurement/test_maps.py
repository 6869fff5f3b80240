"""Maps of a classifier whose answer is known by hand: it says yes by how bright the upper left quarter is."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Subset

import dovision as dv
from dovision.measurement.callback import ClassifierUnderTest
from dovision.results.explanation_metrics import agreements
from dovision.results.image_tables import read_maps, write_boxes
from dovision.results.summary import summarise
from dovision.types import BOX_COLUMNS
from made_trainer import quiet_trainer

IMAGES = 6
TASK = dv.Task("multiclass", ("no", "yes"))


class UpperLeft(nn.Module):
    """Logits (0, w * mean of the upper left quarter) of an 8 x 8 image."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(8.0))

    def forward(self, image):
        value = self.weight * image[:, 0, :4, :4].mean((1, 2))
        return torch.stack([torch.zeros_like(value), value], 1)


class Truth(dv.Explainer):
    """The gradient, which is the same for each pixel of the quarter, as the mean of nothing and twice of it."""

    def run(self, batch, target, classifier):
        chosen = classifier(batch.image).gather(1, target.unsqueeze(1)).sum()
        return torch.autograd.grad(chosen, batch.image)[0][:, 0]

    def run_each(self, batch, target, classifier):
        return torch.stack([scale * self.run(batch, target, classifier) for scale in (0, 2)], 1)


class Nothing(dv.Explainer):
    def run(self, batch, target, classifier):
        return torch.zeros_like(batch.image[:, 0])


class Broken(Nothing):
    def run(self, batch, target, classifier):
        return torch.full_like(batch.image[:, 0], torch.nan)


class LowerRight(Nothing):
    def run(self, batch, target, classifier):
        maps = super().run(batch, target, classifier)
        maps[:, 4:, 4:] = 1
        return maps


def items() -> list[dv.Batch]:
    label = torch.ones(IMAGES, dtype=torch.int64)
    number = torch.arange(IMAGES)
    image = 0.5 + 0.5 * torch.rand(IMAGES, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    return [dv.Batch(*fields) for fields in zip(image, label, number, number + 100, strict=True)]


def boxes() -> pd.DataFrame:
    """Of the first images: the upper left quarter, all but its first row and column, and one of no class."""
    rows = [(0, "quarter", "yes", 0, 0, 4, 4), (1, "part", "yes", 1, 1, 4, 4), (2, "tag", None, 4, 4, 8, 8)]
    return pd.DataFrame(rows, columns=BOX_COLUMNS)


def evaluate(folder: Path, batch_size: int = 4, samples=range(IMAGES), **changed) -> pd.DataFrame:
    logged_of(folder, batch_size, (), samples, **changed)
    return read_maps(folder)


def logged_of(
    folder: Path, batch_size: int, more=(), samples=range(IMAGES), origin=None, **changed
) -> dict[str, float]:
    """What is logged."""
    classifier = dv.Classifier(UpperLeft(), TASK, [0.5], [0.5])
    options = {"target": "label", "cells": 4, "margin": 0.1, "steps": 4, "fill": dv.Constant(0.0)}
    settings = dv.MapSettings(**{**options, "noise": 0.01, "num_sanity_images": 0, "seed": 0, **changed})
    explainers = {"truth": Truth(), "nothing": Nothing(), "broken": Broken(), "lower_right": LowerRight()}
    given = dv.MapOptions(list(samples), boxes=boxes(), resume=dv.Resume(2, origin))
    callback = dv.MapEvaluation(explainers, folder, settings, classifier, options=given)
    trainer = quiet_trainer(callback, *more)
    loader = DataLoader(Subset(items(), samples), batch_size)
    module = ClassifierUnderTest(classifier)
    trainer.test(module, loader, verbose=False)
    return module.numbers


@pytest.fixture(scope="module")
def maps(tmp_path_factory) -> pd.DataFrame:
    return evaluate(tmp_path_factory.mktemp("maps"), num_sanity_images=2)


def test_the_map_on_the_grid_is_the_known_one(maps):
    truth = maps[(maps["explainer"] == "truth") & (maps["variant"] == "as is")]
    expected = np.zeros((4, 4), np.float32)
    expected[:2, :2] = 8 / 16 / 0.5
    for cells in truth["cells"]:
        np.testing.assert_allclose(np.reshape(cells, (4, 4)), expected)


def test_the_spread_is_that_of_the_maps_as_they_are_where_there_are_several(maps):
    known = maps[maps["spread"].notna()]
    assert set(zip(known["explainer"], known["variant"], strict=True)) == {("truth", "as is")}
    expected = np.zeros((4, 4), np.float32)
    expected[:2, :2] = 8 / 16 / 0.5
    for spread in known["spread"]:
        np.testing.assert_allclose(np.reshape(spread, (4, 4)), expected)


def test_deletion_of_the_right_cells_takes_the_answer_away_and_insertion_brings_it_back(maps):
    known = maps[maps["variant"] == "as is"].set_index(["explainer", "sample"])
    for sample in range(IMAGES):
        right, wrong = known.loc[("truth", sample)], known.loc[("lower_right", sample)]
        quarter = items()[sample].image[0, :4, :4].mean()
        whole, none = (torch.sigmoid(8 * (2 * brightness - 1)) for brightness in (quarter, torch.tensor(0.0)))
        steps = np.array([whole, none, none, none, none])  # a step paints four cells, which are all that matters
        assert right["deletion"] == pytest.approx(np.trapezoid(steps, dx=0.25), abs=1e-6)
        assert right["insertion"] == pytest.approx(np.trapezoid(np.array([none, *[whole] * 4]), dx=0.25), abs=1e-6)
        assert wrong["deletion"] > right["deletion"]
        assert wrong["insertion"] < right["insertion"]


def test_without_noise_each_map_is_drawn_once_and_its_stability_is_unknown(tmp_path):
    effects = dv.EffectEvaluation(dv.PixelGrid(1, 1), tmp_path)
    logged_of(tmp_path, 4, [effects], noise=0.0)
    write_boxes(tmp_path, boxes())
    assert set(read_maps(tmp_path)["variant"]) == {"as is"}
    assert agreements(tmp_path)["stability"].isna().all()
    summarise(tmp_path)


def test_a_map_of_nothing_or_of_no_numbers_is_flagged_and_not_scored(maps):
    states = maps.groupby("explainer")["state"].unique().map(list).to_dict()
    assert states["nothing"] == ["zero"]
    assert states["broken"] == ["not finite"]
    assert maps[maps["state"] != "ok"]["deletion"].isna().all()


def test_the_first_images_are_explained_for_forgetful_classifiers_too(maps):
    by_variant = maps[maps["explainer"] == "truth"].groupby("variant")["sample"].unique().map(list).to_dict()
    everyone = list(range(IMAGES))
    assert by_variant == {
        "as is": everyone,
        "perturbed": everyone,
        **{f"randomised {depth} of 3": [0, 1] for depth in (1, 2, 3)},
    }


def test_the_table_does_not_depend_on_the_batch_size(maps, tmp_path):
    pd.testing.assert_frame_equal(maps, evaluate(tmp_path, batch_size=1, num_sanity_images=2))


@pytest.mark.parametrize("batch_size", [1, 4])
def test_the_numbers_of_the_table_are_logged(tmp_path, batch_size):
    logged = logged_of(tmp_path, batch_size, [dv.EffectEvaluation(dv.PixelGrid(1, 1), tmp_path)])
    write_boxes(tmp_path, boxes())
    expected = {
        f"{row['metric']}/{row['explainer']}": row["mean"]
        for row in summarise(tmp_path)["maps"]
        if row["metric"] in ("pointing", "energy") and row["cases"] == "all" and row["mean"] is not None
    }
    assert {name: value for name, value in logged.items() if name in expected} == pytest.approx(expected, abs=1e-12)
    assert logged["pointing/truth"] == 1
    assert logged["energy/truth"] == pytest.approx((1 + 9 / 16) / 2)
    assert "energy/nothing" not in logged


def breaking(broken, images: int):
    """The explainer's `run`, that raises once it was asked for so many images."""
    left, run = images, broken.run

    def partly(self, batch, target, classifier):
        nonlocal left
        left -= len(batch.image)
        if left < 0:
            raise RuntimeError("no map today")
        return run(self, batch, target, classifier)

    return partly


def test_maps_of_a_start_that_broke_are_taken_up_and_the_same_to_the_byte(tmp_path, monkeypatch):
    options = {"origin": {"code": "1"}, "noise": 0}
    logged = logged_of(tmp_path / "whole", 2, **options)
    with monkeypatch.context() as patch:
        patch.setattr(LowerRight, "run", breaking(LowerRight, 4))
        with pytest.raises(RuntimeError, match="no map today"):
            logged_of(tmp_path / "stopped", 2, **options)
    monkeypatch.setattr(LowerRight, "run", breaking(LowerRight, 2))  # two images are left
    assert logged_of(tmp_path / "stopped", 2, **options) == pytest.approx(logged)
    stopped, whole = (tmp_path / name / "maps.parquet" for name in ("stopped", "whole"))
    assert stopped.read_bytes() == whole.read_bytes()


def test_counts_of_explainers_go_on_from_those_of_the_start_before(tmp_path, monkeypatch):
    seen, origin = [], {"code": "1"}
    monkeypatch.setattr(dv.MapEvaluation, "finish", lambda self: seen.append(self.counters))
    for folder in ("whole", "again"):
        logged_of(tmp_path / folder, 2, origin=origin)
    logged_of(tmp_path / "again", 2, origin=origin)
    whole, first, second = ([counters[f"{name} all maps"] for name in ("truth", "nothing")] for counters in seen)
    assert whole == first == second == [2 * IMAGES, 2 * IMAGES]
