"""scores.parquet as it is read back, and which detectors are shown."""

import numpy as np
import pandas as pd
import pytest

from dovision.results.detection_tables import (
    SCORES,
    detector_label,
    detectors_of,
    preferred_scores,
    read_scores,
    scores_schema,
)
from dovision.results.tables import write_table


def test_the_scores_of_a_detector_are_read_from_whatever_row_groups(tmp_path):
    names = ["odin", "margin", "odin", "odin", "margin", "zero"]
    rows = {"sample": range(6), "score": np.arange(6.0), "split": "test", "group": range(6), "attack": "clean"}
    facts = {"eps": 0.0, "correct": True, "success": None, "variant": "as is", "fitted_on": ""}
    frame = pd.DataFrame(rows | facts | {"detector": names})
    write_table(tmp_path / SCORES, scores_schema(), [SCORES.from_frame(frame)], row_group=2)
    assert detectors_of(tmp_path) == ["odin", "margin", "zero"]
    for name in detectors_of(tmp_path):
        assert read_scores(tmp_path, name)["sample"].tolist() == [n for n in range(6) if names[n] == name]
    assert preferred_scores(tmp_path)["sample"].tolist() == [0, 2, 3, 1, 4, 5]


def test_a_missing_score_no_table_and_a_table_without_rows_are_errors(tmp_path):
    rows = {"sample": [3, 4, 5], "split": "test", "group": 1, "attack": ["clean", "pgd", "adaptive"]}
    rows |= {"eps": 0.1, "detector": "odin", "variant": "as is", "fitted_on": "", "correct": True, "success": None}
    frame = pd.DataFrame(rows | {"score": [0.5, None, 1.0]})
    write_table(tmp_path / SCORES, scores_schema(), [SCORES.from_frame(frame)])
    with pytest.raises(ValueError, match=r"must have a score in each row, got nan in 1, from odin\."):
        read_scores(tmp_path)
    (tmp_path / SCORES).unlink()
    with pytest.raises(FileNotFoundError, match="Run the evaluation again"):
        read_scores(tmp_path)
    write_table(tmp_path / SCORES, scores_schema(), [])
    with pytest.raises(ValueError, match=r"must have rows, got none\. Delete the folder"):
        read_scores(tmp_path)


@pytest.mark.parametrize(
    ("names", "label"),
    [
        (("odin", "as is", ""), "odin"),
        (("profile", "clean only", ""), "profile, clean only"),
        (("classifier", "supervised", "all attacks"), "classifier, supervised"),
        (("classifier", "supervised", "pgd"), "classifier, supervised, on pgd"),
        (("classifier", "supervised", "all but pgd"), "classifier, supervised, family unseen"),
    ],
)
def test_a_detector_is_called_by_name_variant_and_fit(names, label):
    assert detector_label(*names) == label
