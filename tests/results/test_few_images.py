"""No estimate of fewer than five images, whatever is estimated: a row a number, with four images and with five."""

import numpy as np
import pandas as pd
import pytest

from dovision.functional.estimates import FEW_IMAGES, MIN_IMAGES, of_images, without_few
from dovision.functional.intervals import withheld
from dovision.results import map_summary
from dovision.results.average_effect import average_effects
from dovision.results.explanation_metrics import RANGES
from dovision.results.schemas import METRICS
from dovision.results.summary import summarise

ENOUGH = [pytest.param(MIN_IMAGES - 1, False, id="four"), pytest.param(MIN_IMAGES, True, id="five")]


@pytest.mark.parametrize(("images", "shown"), [((0,), True), ((1,), False), ((4, 90), False), ((5, 90), True)])
def test_of_two_sets_of_images_either_is_to_have_five(images, shown):
    found = of_images(withheld(0.021, 3, ""), *images)
    assert (found.value, found.reason) == ((0.021, "") if shown else (pytest.approx(np.nan, nan_ok=True), FEW_IMAGES))


def test_a_table_keeps_its_counts_and_loses_its_numbers():
    rows = {"unit": ["a", "b"], "mean": [0.1, 0.2], "reason": "", "p": 0.01, "images": [4, 5], "clusters": 4}
    few, enough = without_few(pd.DataFrame(rows)).to_dict("records")
    assert enough == {"unit": "b", "mean": 0.2, "reason": "", "p": 0.01, "images": 5, "clusters": 4}
    assert (few["images"], few["clusters"], few["reason"]) == (4, 4, FEW_IMAGES)
    assert np.isnan([few["mean"], few["p"]]).all()


@pytest.mark.slow
@pytest.mark.parametrize(("images", "shown"), ENOUGH)
def test_each_score_of_maps_needs_five_images_whatever_the_maps(images, shown):
    """Three classes an image, so that there are twelve maps of four images."""
    sample = np.repeat(np.arange(images), 3)
    keys = {"sample": sample, "class": np.tile(list("abc"), images), "group": sample, "correct": True, "state": "ok"}
    values = {"m": 1.0, "r": 0.0}.items()
    frame = pd.concat(
        [pd.DataFrame(keys | {"explainer": name} | dict.fromkeys(RANGES, value)) for name, value in values]
    )
    table = map_summary.scores(frame, pd.DataFrame(), pd.DataFrame(), "r")
    assert (table["mean"].notna() == shown).all()
    assert (table.loc[table["explainer"] == "m", "difference"].notna() == shown).all()
    difference = map_summary.map_difference(frame, "m", "r", "energy", 0.95)
    assert (difference["difference"] == 1) == shown
    assert shown or difference["difference_reason"] == FEW_IMAGES


@pytest.mark.slow
@pytest.mark.parametrize(("images", "shown"), ENOUGH)
def test_a_run_of_few_images_has_no_average(images, shown, tmp_path, write_run):
    folder = write_run(tmp_path, eps=(0.2,), grid=2, images=images, maps=0).folder
    clean = summarise(folder)["conditions"]["clean"]
    known = {name for name in METRICS if clean[name] is not None}
    assert ({"accuracy", "calibration_error", "mean_abs_expected_effect"} <= known) if shown else not known
    assert any(FEW_IMAGES in note for note in clean["notes"])
    assert (average_effects(folder)["mean"].notna() == shown).all()
