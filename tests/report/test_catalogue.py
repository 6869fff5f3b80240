"""What the captions say, and which numbers stand behind the figures."""

import re

import numpy as np
import pandas as pd
import pytest
import torch

from dovision.functional.intervals import MEAN_INTERVALS
from dovision.report.figures.results import results_frame
from dovision.report.report_figure import Catalogue, caption, label_names, sample_size
from dovision.results.run_record import read_sweep
from dovision.types import Task

FLOWERS = Task("multilabel", ("rose", "iris"))


def completed(folder):
    return [run for run in read_sweep(folder) if run.state == "completed"]


def test_captions_state_fill_grid_count_and_interval(sweep):
    run = completed(sweep)[1]
    report_figures = [*Catalogue().of_sweep([run]), *Catalogue().of_run(run)]
    captions = {item.name: item.caption for item in report_figures}
    known = ["results", "effect_against_epsilon", "classes", "overlay"]
    known += ["average_effect_maps", "average_effects"]
    assert [name for name in captions if name in known] == known  # more may come
    for name, words in captions.items():
        assert "4 x 4 cells, black" in words
        assert "seed 1." in words
        assert re.search(r"n = \d", words)
        named = re.search("95% intervals over groups|no interval", words, re.IGNORECASE)
        assert (named is None) == (name == "effect_against_epsilon")  # sizes have no interval
        assert "/data/mnist" not in words
    for name in ("results", "classes", "effect_against_epsilon", "average_effects"):
        counted = "n = 40" if name == "effect_against_epsilon" else "n = 20 groups, 40"
        assert f"{counted} images in each condition" in captions[name]
        assert ("95% intervals over groups" in captions[name]) == (name != "effect_against_epsilon")


def test_the_table_of_results_is_that_of_the_summaries(sweep):
    runs = completed(sweep)
    frame = results_frame(runs)
    assert len(frame) == 9
    (place,) = np.flatnonzero((frame["job"] == "grid 4 x 4, grid of cells, seed 1") & (frame["condition"] == "eps=0.2"))
    found = runs[1].summary["conditions"]["eps=0.2"]
    assert frame.loc[place, "success_rate"] == found["success_rate"]["estimate"]
    assert frame.loc[place, "auroc_high"] == found["auroc"]["high"]
    accuracy = found["accuracy"]
    text = f"{accuracy['estimate']:.3f} [{accuracy['low']:.3f}, {accuracy['high']:.3f}]"
    table = Catalogue().of_sweep(runs)[0].table
    assert table.index[place] == "grid 4 x 4, grid of cells, seed 1"
    assert table.iloc[place, :4].tolist() == ["Linf epsilon 0.2", "40", "10 classes, 3 to 6 images each", text]
    assert table["attack success"].iloc[0] == "-"


def test_several_labels_are_read_as_names():
    assert label_names(pd.Series([[1, 0]]).iloc[0], FLOWERS.classes) == "rose"
    assert label_names(torch.tensor([1, 1]).numpy(), FLOWERS.classes) == "rose, iris"
    assert label_names([0, 0], FLOWERS.classes) == "none"
    assert label_names(1, FLOWERS.classes) == "iris"


@pytest.mark.parametrize(
    ("groups", "counted"), [([12, 48], "n = 12 to 48 groups, 48 images."), ([48, 48], "n = 48 images.")]
)
def test_images_are_counted_behind_their_groups_where_these_are_fewer(groups, counted):
    assert sample_size(pd.DataFrame({"images": 48, "groups": groups}), "images", "images") == counted


@pytest.mark.parametrize(
    ("clusters", "intervals", "counted"),
    [
        (12, f"In brackets: {MEAN_INTERVALS}.", "n = 12 groups, 48 images"),
        (48, f"In brackets: {MEAN_INTERVALS}.", "n = 48 images"),
        (12, "Whiskers: standard deviation over 3 seeds.", "n = 48 images"),
    ],
)
def test_n_is_the_number_of_groups_where_intervals_are_over_groups(clusters, intervals, counted):
    frame = pd.DataFrame({"mean": [0.1], "low": [0.0], "high": [0.2], "clusters": [clusters], "images": [48]})
    words = caption("Bars.", [], "n = 48 images.", intervals, frame)
    assert f"Bars. {counted}. {intervals}" in words
    assert f"Bars. {counted}; " in words.short
