"""Maps against maps: two explainers, and one before and after a change."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from dovision.analysis.similarity import depth, explainer_similarity, sanity, variant_similarity
from dovision.store.map_tables import read_maps


def test_two_explainers_are_compared_on_the_same_image_and_class(map_run):
    frame = explainer_similarity(map_run).set_index(["explainer", "other"])
    assert list(frame.index) == [
        ("grad_cam", "effect_map"),
        ("grad_cam", "random_map"),
        ("effect_map", "random_map"),
    ]
    assert frame["maps"].tolist() == [41, 41, 42]  # the zero map is left out
    maps = read_maps(map_run)
    cells = maps[(maps["variant"] == "as is") & (maps["state"] == "ok")].set_index(["explainer", "sample", "class"])
    pairs = [key[1:] for key in cells.index if key[0] == "grad_cam"]
    expected = [
        stats.spearmanr(cells.loc[("grad_cam", *key), "cells"], cells.loc[("effect_map", *key), "cells"]).statistic
        for key in pairs
    ]
    assert frame.loc[("grad_cam", "effect_map"), "similarity"] == pytest.approx(np.mean(expected))


def test_a_map_that_knows_the_classifier_changes_with_it_and_a_random_one_does_not(map_run):
    frame = sanity(map_run)
    assert list(dict.fromkeys(frame["variant"])) == [
        "randomised 1 of 3",
        "randomised 2 of 3",
        "randomised 3 of 3",
        "permuted labels",
    ]
    assert list(dict.fromkeys(frame["explainer"])) == ["grad_cam", "effect_map", "random_map"]
    of = frame.groupby("explainer")
    assert of["mean"].max()["grad_cam"] < 0.4
    assert of["high"].max()["grad_cam"] < of["low"].min()["random_map"]
    assert of["maps"].first().to_dict() == {"grad_cam": 9, "effect_map": 10, "random_map": 10}


def test_depths_are_numbers_and_not_text():
    assert depth("randomised 10 of 12") > depth("randomised 9 of 12")


def test_a_run_without_sanity_maps_has_no_rows():
    cells = [np.arange(4.0), np.arange(4.0)[::-1]]
    maps = pd.DataFrame({"sample": 0, "class": "a", "explainer": "x", "group": 0, "state": "ok", "cells": cells})
    maps["variant"] = ["as is", "perturbed"]
    assert variant_similarity(maps, "perturbed")["similarity"].tolist() == [-1]
    assert variant_similarity(maps, "permuted labels").empty
