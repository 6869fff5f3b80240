"""Findings of detectors, from scores of which it is known by hand how many are detected, of 50 a family."""

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


def headline(folder, *made):
    """The finding on the best detector, against feature squeezing if it is there."""
    detectors = {name: counts for one in made for name, counts in one.items()}
    write_detected(folder, detectors, [name for name in detectors if name in FITTED | FITTED_SQUEEZING])
    write_detection(folder)
    if "feature_squeezing" in detectors:
        write_comparison(folder, "feature_squeezing")
    (found,) = detection_findings(Run(folder, "", "completed", {}, {}, {}))
    return found


@pytest.mark.parametrize(
    ("made", "text"),
    [
        ([WEAKER, BETTER], "Entropy has its lowest detection rate, 0.44, on Square."),
        ([BETTER, FITTED], "Effect consistency has its lowest detection rate, 0.80"),
        ([SQUEEZING], "Feature squeezing has its lowest detection rate, 0.24, on PGD."),
        ([WEAKER, SQUEEZING], "Effect profile is not shown to beat feature squeezing: "),
        # ahead on PGD, and not on its weakest
        ([WEAKER, SQUEEZING, BETTER], "is not shown to beat feature squeezing: detection rate 0.44 against 0.40 on"),
        ([WEAKER, LEVEL, SQUEEZING], "is not shown to beat feature squeezing: detection rate 0.24 against 0.24 on "),
        ([FITTED, SQUEEZING], "beats feature squeezing: detection rate 0.80 against 0.40 on Square, its weakest."),
        ([FITTED, SQUEEZING, FITTED_SQUEEZING], "beats feature squeezing supervised: detection rate 0.80 against 0.64"),
    ],
)
def test_the_best_detector_is_held_against_the_reference(made, text, tmp_path):
    found = headline(tmp_path, *made)
    assert text in found.text
    assert found.number.n == 50


def test_the_detail_has_operating_points_and_differences_by_family(tmp_path):
    detail = dict(headline(tmp_path, SQUEEZING, BETTER).detail)
    assert detail["tpr_5"] == "0.440 [0.300, 0.587]"
    assert detail["minus the reference on Square"].startswith("+0.040 [-")
    assert detail["minus the reference on PGD"].startswith("+0.560 [+")


def test_without_a_threshold_the_area_is_told_and_the_adaptive_attacker_has_a_norm(tmp_path):
    write_scores(tmp_path, images=18, adaptive=False, made=MADE[:2], eps=(0.3,))
    write_detection(tmp_path)
    (found,) = detection_findings(Run(tmp_path, "", "completed", {}, {}, {}))
    assert " has its lowest AUROC, 0." in found.text
    write_scores(tmp_path, made=MADE[-1:], eps=(0.3,))
    write_detection(tmp_path)
    _, found = detection_findings(Run(tmp_path, "", "completed", {}, {}, {}))
    assert found.text.endswith(" of the images, within Linf epsilon 0.3.")
    assert [name for name, _ in found.detail] == ["Linf epsilon 0.3", "attacked images", "threshold"]


def test_the_best_of_several_has_intervals_of_their_level(tmp_path):
    alone = headline(tmp_path / "alone", SQUEEZING, BETTER)
    found = headline(tmp_path / "several", SQUEEZING, BETTER, WEAKER, LEVEL)
    assert [dict(one.detail)["level of the intervals"] for one in (alone, found)] == ["95%", "98.3%"]
    (number, low, high), (of_one, least, most) = found.number[:3], alone.number[:3]
    assert (number, low < least, high > most) == (of_one, True, True)
