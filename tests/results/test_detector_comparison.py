"""Differences of AUROC between detectors, counted by hand on four images."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from dovision.functional.detection import OTHER_IMAGES
from dovision.results.detection_summary import WORST
from dovision.results.detection_tables import SCORES, scores_schema
from dovision.results.detector_comparison import detector_differences, read_comparison, write_comparison
from dovision.results.tables import TableWriter
from made_scores import write_detected

pytestmark = pytest.mark.usefixtures("few_images")
CLEAN = np.array([10.0, 20.0, 30.0, 96.0])
NOISE = np.array([15.0, 95.0, 35.0, 40.0])
PGD = np.array([97.0, 25.0, 99.0, 50.0])
FGSM = np.array([5.0, 26.0, 98.0, 60.0])


def condition(attack, scores, success, eps, **more):
    columns = {"sample": range(4), "group": range(4), "split": "test", "attack": attack, "eps": eps, "correct": True}
    columns |= {"detector": "odin", "variant": "as is", "fitted_on": "", "success": list(success), "score": scores}
    return pd.DataFrame(columns | more).astype({"success": object})


def conditions(change=lambda scores: scores, **more):
    return [
        condition("clean", change(CLEAN), [None] * 4, 0.0, **more),
        condition("clean", change(CLEAN), [None] * 4, 0.0, **more | {"split": "val"}),
        condition("random_sign", change(NOISE), [False] * 3 + [None], 0.1, **more),
        condition("pgd", change(PGD), [True, True, False, None], 0.1, **more),
        condition("fgsm", change(FGSM), [False, True, True, None], 0.1, **more),
        condition("adaptive", change(PGD), [True, True, True, None], 0.1, **more),
    ]


@pytest.fixture
def folder(tmp_path):
    parts = conditions(detector="squeeze", variant="as is")
    parts += conditions(np.flip, detector="odin", variant="as is")
    parts += conditions(lambda scores: 100 - scores, detector="net", variant="supervised", fitted_on="all attacks")
    parts += conditions(np.flip, detector="net", variant="supervised", fitted_on="permuted labels")
    schema = scores_schema({"pgd": "strong", "fgsm": "strong"})
    with TableWriter(tmp_path / SCORES, schema) as table:
        for part in parts[::-1]:  # in any order
            frame = part.sample(frac=1, random_state=0)[schema.names]
            for batch in pa.Table.from_pandas(frame, schema, preserve_index=False).to_batches():
                table.write(batch)
    return tmp_path


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


def test_the_table_is_written_and_read_back_and_an_unknown_reference_is_refused(folder):
    write_comparison(folder, "squeeze")
    pd.testing.assert_frame_equal(read_comparison(folder), detector_differences(folder, "squeeze"), check_dtype=False)
    with pytest.raises(ValueError, match="must have scores, got none of 'mahalanobis'"):
        detector_differences(folder, "mahalanobis")


def test_a_worst_case_of_epsilons_with_noise_and_without_is_a_dash_with_the_reason(tmp_path):
    """Of FGSM at .2, without noise of its own, one detector has the least scores, of FGSM at .1 the other."""
    parts = []
    for name, sign in {"squeeze": 1, "odin": -1}.items():
        parts += [part for part in conditions(detector=name) if part["attack"].iloc[0] not in ("pgd", "adaptive")]
        parts.append(condition("fgsm", FGSM + sign, (False, True, True, None), 0.2, detector=name))
    with TableWriter(tmp_path / SCORES, schema := scores_schema()) as table:
        for part in parts:
            second = part.assign(attack=part["attack"].replace("fgsm", "pgd"))[part["attack"] == "fgsm"]
            for frame in (part, second):
                for batch in pa.Table.from_pandas(frame[schema.names], schema, preserve_index=False).to_batches():
                    table.write(batch)
    worst = detector_differences(tmp_path, "squeeze").set_index("attack").loc[WORST]
    assert np.isnan(worst["auroc_noise"])
    assert worst["auroc_noise_reason"] == OTHER_IMAGES
    assert np.isfinite(worst["auroc"])
