"""Findings of detectors, from scores of which it is known by hand how many are detected, of 50 a family."""

from __future__ import annotations

import re

import pytest

from dovision.results.detection_findings import detection_findings
from dovision.results.detection_summary import write_detection
from dovision.results.detector_comparison import write_comparison
from dovision.results.run_record import Run
from made_scores import MADE, write_detected, write_scores

SQUEEZING = {"feature_squeezing": {"pgd": 12, "square": 20}}
FITTED_SQUEEZING = {"feature_squeezing_supervised": {"pgd": 30, "square": 32}}
BETTER = {"entropy": {"pgd": 40, "square": 22}}
WEAKER = {"effect_profile": {"pgd": 1, "square": 3}}
LEVEL = {"max_softmax": {"pgd": 12, "square": 20}}
FITTED = {"effect_consistency": {"pgd": 45, "square": 40}}


def headline(folder, reference, *made, fitted=()):
    write_detected(folder, {name: counts for one in made for name, counts in one.items()}, fitted)
    write_detection(folder)
    if reference:
        write_comparison(folder, reference)
    (found,) = detection_findings(Run(folder, "", "completed", {}, {}, {}))
    return found


@pytest.mark.parametrize(
    ("reference", "made", "fitted", "name", "estimate", "text"),
    [
        (None, [BETTER], (), "detection", 0.44, "Entropy detects 0.440 "),
        (None, [WEAKER, BETTER], (), "detection", 0.44, "Entropy detects 0.440 "),
        (None, [BETTER, FITTED], ("effect_consistency",), "detection", 0.8, "Effect consistency detects 0.800 "),
        ("feature_squeezing", [SQUEEZING], (), "detection", 0.24, "Feature squeezing detects 0.240 "),
        (
            "feature_squeezing",
            [WEAKER, SQUEEZING, BETTER],
            (),
            "entropy_minus_feature_squeezing",
            0.04,
            "Entropy detects 0.440 ",
        ),
        (
            "feature_squeezing",
            [WEAKER, LEVEL, SQUEEZING],
            (),
            "max_softmax_minus_feature_squeezing",
            0.0,
            "No detector is shown to be better than its reference in TPR at 5%. Of all but the reference, the best is ",
        ),
        (
            "feature_squeezing",
            [WEAKER, SQUEEZING],
            (),
            "effect_profile_minus_feature_squeezing",
            -0.22,
            "No detector is shown to be better than its reference in TPR at 5%. Of all but the reference, the best is ",
        ),
        (
            "feature_squeezing",
            [FITTED, SQUEEZING],
            ("effect_consistency",),
            "effect_consistency_minus_feature_squeezing",
            0.4,
            "The reference, feature squeezing (fitted to no attack; the detector to all other families), has a least ",
        ),
        (
            "feature_squeezing",
            [FITTED, SQUEEZING, FITTED_SQUEEZING],
            ("effect_consistency", "feature_squeezing_supervised"),
            "effect_consistency_minus_feature_squeezing_supervised",
            0.16,
            "The reference, feature squeezing supervised, fitted to the same attacks, has a least TPR at 5% of 0.600 ",
        ),
        (
            "feature_squeezing",
            [{"effect_consistency": FITTED_SQUEEZING["feature_squeezing_supervised"]}, SQUEEZING, FITTED_SQUEEZING],
            ("effect_consistency", "feature_squeezing_supervised"),
            "feature_squeezing_supervised_minus_feature_squeezing",
            0.36,
            "Feature squeezing supervised detects 0.600 ",
        ),
    ],
)
def test_the_best_detector_is_held_against_the_reference(reference, made, fitted, name, estimate, text, tmp_path):
    found = headline(tmp_path, reference, *made, fitted=fitted)
    assert found.name == name
    assert found.number.value == pytest.approx(estimate)
    assert text in found.text
    assert found.text.count("not adaptive") == 1
    assert found.number.n == 50


def test_the_operating_point_comes_first_and_families_follow(tmp_path):
    found = headline(tmp_path, "feature_squeezing", SQUEEZING, BETTER)
    assert re.match(
        r"Entropy detects 0\.440 \[0\.300, 0\.587\] at 5% and 0\.440 \[0\.300, 0\.587\] at 1% of clean images "
        r"rejected \(0\.000 \[0\.000, 0\.071\] and 0\.000 \[0\.000, 0\.071\] of the test images\), of successful "
        r"attacks by Square, its weakest of 2 families that it was not fitted to, each by itself \(n = 50 attacked "
        r"images; not adaptive\)\. There its AUROC is 0\.440 \[.*\] against the same images when clean, not shown to "
        r"be separated; 0\.440 \[.*\] against all clean ones, of which these have 0\.500 \[.*\]\. It is the only "
        r"detector that is ahead of its reference on a family and whose least TPR at 5% is not below the reference's\. "
        r"The reference, feature squeezing, has a least TPR at 5% of 0\.240 \[.*\], on PGD\. Minus the reference, "
        r"paired, on Square: TPR at 5% \+0\.040 ",
        found.text,
    )
    assert "By family, each by itself: TPR at 5% higher on PGD, not shown to differ on Square." in found.text


def test_a_detector_that_is_ahead_on_a_family_and_falls_below_the_least_of_the_reference_is_not_better(tmp_path):
    """On PGD 40 of 50 against 12, on Square 8 of 50, where the reference has 20, and 12 at the least."""
    found = headline(tmp_path, "feature_squeezing", SQUEEZING, {"entropy": {"pgd": 40, "square": 8}})
    assert found.text.startswith(
        "No detector is shown to be better than its reference in TPR at 5%. Entropy is ahead on PGD, but its least is "
        "0.160 [0.072, 0.291] on Square, below the reference's least. Of all but the reference, the best is entropy, "
        "which detects 0.160 "
    )
    assert "The reference, feature squeezing, has a least TPR at 5% of 0.240 [0.131, 0.382], on PGD." in found.text


def test_without_a_threshold_the_area_comes_first(tmp_path):
    write_scores(tmp_path, images=18, adaptive=False, made=MADE[:2], eps=(0.3,))
    write_detection(tmp_path)
    (found,) = detection_findings(Run(tmp_path, "", "completed", {}, {}, {}))
    assert re.match(r"\w.* has AUROC 0\.\d+ \[", found.text)


def test_a_run_of_one_family_says_that_it_was_fitted_to(tmp_path):
    write_scores(tmp_path, attacks=("pgd",), adaptive=False, made=MADE[-1:], eps=(0.3,))
    write_detection(tmp_path)
    (found,) = detection_findings(Run(tmp_path, "", "completed", {}, {}, {}))
    assert "of successful attacks by PGD that it was fitted to (n = " in found.text


def test_the_adaptive_attacker_has_a_norm(tmp_path):
    write_scores(tmp_path, made=MADE[-1:], eps=(0.3,))
    write_detection(tmp_path)
    _, found = detection_findings(Run(tmp_path, "", "completed", {}, {}, {}))
    assert "(Linf epsilon 0.3; 30 groups, 60 attacked images). No other norm was tried." in found.text


def test_the_best_of_several_has_intervals_of_their_level(tmp_path):
    alone = headline(tmp_path / "alone", "feature_squeezing", SQUEEZING, BETTER)
    found = headline(tmp_path / "several", "feature_squeezing", SQUEEZING, BETTER, WEAKER, LEVEL)
    assert "Its intervals are at 98.3%, for the best of 3." in found.text
    assert "Its intervals" not in alone.text
    (number, low, high), (of_one, least, most) = found.number[:3], alone.number[:3]
    assert (number, low < least, high > most) == (of_one, True, True)
