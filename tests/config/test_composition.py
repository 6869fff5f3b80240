"""Groups that are set to null on a command line."""

from __future__ import annotations

import pytest

from dovision.config.sources import without_null


@pytest.mark.parametrize("group", ["logger", "callbacks", "explainer", "detector"])
def test_null_is_the_empty_list_of_a_group_that_takes_a_list(group):
    assert without_null("evaluate", ["-m", f"{group}=null", "seed=0,1"]) == ["-m", f"{group}=[]", "seed=0,1"]


@pytest.mark.parametrize("group", ["experiment", "debug"])
def test_null_of_what_is_not_chosen_anyway_is_left_out(group):
    assert without_null("train", [f"{group}=null", "seed=0"]) == ["seed=0"]


def test_the_defaults_are_those_of_the_command():
    assert without_null("train", ["autoencoder=null"]) == []
    assert without_null("evaluate", ["autoencoder=null"]) == ["autoencoder=null"]


WORDS = ["logger=[null]", "attack=null", "+logger=null", "logger.csv.folder=null", "note=null", "logger=nullable", "-m"]


@pytest.mark.parametrize("word", WORDS)
def test_other_words_stay(word):
    assert without_null("evaluate", [word]) == [word]


@pytest.mark.slow
def test_a_job_without_loggers_and_callbacks_is_planned(dovision_evaluate, capsys, tmp_path):
    words = ("logger=null", "callbacks=null", "experiment=null", "debug=null")
    assert dovision_evaluate(*words, "dry_run=true", f"output_root={tmp_path}") == 0
    assert "1 jobs, 1 to do" in capsys.readouterr().out
