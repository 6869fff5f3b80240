"""Differences of AUROC between detectors, counted by hand on four images."""

import numpy as np
import pandas as pd
import pytest

from dovision.functional.detection import OTHER_IMAGES
from dovision.results.detection_summary import WORST
from dovision.results.detector_comparison import detector_differences, read_comparison, write_comparison
from made_scores import BY_HAND, scored, scored_by_hand, write_detected, write_table

pytestmark = pytest.mark.usefixtures("few_images")


def test_a_fitted_detector_is_compared_with_the_fitted_form_of_the_reference(tmp_path):
    """Of 50 attacks 45 are detected, by squeezing 12, by squeezing fitted to the same attacks 30."""
    made = {"feature_squeezing_photographs": 12, "feature_squeezing_supervised_photographs": 30, "net": 45, "odin": 20}
    fitted = ["feature_squeezing_supervised_photographs", "net"]
    write_detected(tmp_path, {name: {"pgd": count, "fgsm": count} for name, count in made.items()}, fitted)
    frame = detector_differences(tmp_path, "feature_squeezing_photographs").query("attack == 'pgd'")
    found = {
        (row["detector"], row["fitted_on"]): (row["reference"], row["reference_fitted_on"], row["tpr_5"], row["tpr_1"])
        for row in frame.to_dict("records")
    }
    for fit in ("all attacks", "all but pgd"):
        assert found["net", fit] == pytest.approx((fitted[0], fit, 0.3, 0.3))
        assert found[fitted[0], fit] == pytest.approx(("feature_squeezing_photographs", "", 0.36, 0.36))
    assert found["odin", ""] == pytest.approx(("feature_squeezing_photographs", "", 0.16, 0.16))
    assert (frame["tpr_5_low"] < frame["tpr_5"]).all()


def test_the_table_is_written_and_read_back_and_an_unknown_reference_is_refused(tmp_path):
    parts = scored_by_hand(detector="squeeze")
    parts += scored_by_hand(np.flip)
    parts += scored_by_hand(lambda scores: 100 - scores, detector="net", variant="supervised", fitted_on="all attacks")
    parts += scored_by_hand(np.flip, detector="net", variant="supervised", fitted_on="permuted labels")
    frame = pd.concat([part.sample(frac=1, random_state=0) for part in parts[::-1]])  # in any order
    write_table(tmp_path, frame, {"pgd": "strong", "fgsm": "strong"})
    write_comparison(tmp_path, "squeeze")
    pd.testing.assert_frame_equal(
        read_comparison(tmp_path), detector_differences(tmp_path, "squeeze"), check_dtype=False
    )
    with pytest.raises(ValueError, match="must have scores, got none of 'mahalanobis'"):
        detector_differences(tmp_path, "mahalanobis")


def test_a_worst_case_of_epsilons_with_noise_and_without_is_a_dash_with_the_reason(tmp_path):
    """Of FGSM at .2, without noise of its own, one detector has the least scores, of FGSM at .1 the other."""
    scores, success = BY_HAND["fgsm"]
    parts = []
    for name, sign in {"squeeze": 1, "odin": -1}.items():
        own = [part for part in scored_by_hand(detector=name) if part["attack"].iloc[0] not in ("pgd", "adaptive")]
        own.append(scored("fgsm", np.array(scores) + sign, success, eps=0.2, detector=name))
        parts += [*own, *(part.assign(attack="pgd") for part in own if part["attack"].iloc[0] == "fgsm")]
    write_table(tmp_path, pd.concat(parts))
    worst = detector_differences(tmp_path, "squeeze").set_index("attack").loc[WORST]
    assert np.isnan(worst["auroc_noise"])
    assert worst["auroc_noise_reason"] == OTHER_IMAGES
    assert np.isfinite(worst["auroc"])
