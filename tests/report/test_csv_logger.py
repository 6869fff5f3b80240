"""Curves as CSV, also of a job that goes on."""

import pandas as pd
import pytest
import yaml

from dovision.report.loggers import CSVLogger


def logged(folder, *rows):
    """A logger after these rows, each (step, metrics), which was not ended."""
    logger = CSVLogger(str(folder), "csv")
    for step, metrics in rows:
        logger.log_metrics(metrics, step)
        logger.save()
    return logger


def read(folder):
    return pd.read_csv(folder / "csv" / "metrics.csv").set_index("step")


def test_what_is_logged_at_a_step_is_one_row_beside_the_configuration(tmp_path):
    logged(tmp_path, (1, {"loss": 0.5}), (1, {"lr": 0.1}), (0, {"accuracy/clean": 1.0})).finalize("success")
    found = read(tmp_path)
    assert found.index.tolist() == [0, 1]
    assert found.loc[1].dropna().to_dict() == {"loss": 0.5, "lr": 0.1}
    assert found.loc[0].dropna().to_dict() == {"accuracy/clean": 1.0}
    config = {"attack": {"eps": [0.1, "16/255"]}, "note": None}
    CSVLogger(str(tmp_path), "csv").log_hyperparams(config)
    assert yaml.safe_load((tmp_path / "csv" / "hparams.yaml").read_text()) == config


def test_a_stopped_job_goes_on_below_its_rows_and_logs_no_step_twice(tmp_path):
    logged(tmp_path, (1, {"loss": 0.5}), (2, {"loss": 0.4}), (3, {"loss": 9.0}))  # step 3 in an epoch that was lost
    logged(tmp_path, (3, {"loss": 0.3}), (3, {"lr": 0.1}), (4, {"loss": 0.2})).finalize("success")
    found = read(tmp_path)
    assert found["loss"].to_dict() == {1: 0.5, 2: 0.4, 3: 0.3, 4: 0.2}
    assert found["lr"].dropna().to_dict() == {3: 0.1}


def test_it_goes_on_after_its_end_too_as_the_trainer_of_a_test_does_after_that_of_a_fit(tmp_path):
    logger = logged(tmp_path, (2, {"loss": 0.5}), (1, {"a": 1.0}))
    logger.finalize("success")
    logger.log_metrics({"b": 2.0}, 0)
    logger.log_metrics({"a": 3.0}, 3)
    logger.finalize("success")
    assert read(tmp_path)["a"].dropna().to_dict() == {1: 1.0, 3: 3.0}
    assert read(tmp_path)["b"].dropna().to_dict() == {0: 2.0}


@pytest.mark.parametrize("left", ["lo", "loss,step\r\n", "loss,step\r\n0.5,1\r\n0.", ""])
def test_a_row_that_a_kill_has_cut_is_left_out(tmp_path, left):
    (tmp_path / "csv").mkdir()
    (tmp_path / "csv" / "metrics.csv").write_text(left, newline="")
    logged(tmp_path, (2, {"loss": 0.4})).finalize("success")
    assert read(tmp_path)["loss"].to_dict() == ({1: 0.5, 2: 0.4} if "0.5" in left else {2: 0.4})
