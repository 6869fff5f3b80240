"""What is sent of a completed run as numbers, beside those that its callbacks log."""

from pathlib import Path

import pytest

from dovision.report.uploader import quality
from dovision.results.classifier_quality import OVERALL
from dovision.results.detection_summary import TWINS
from dovision.results.run_record import Run


def run_with(classes):
    interval = {"estimate": 0.5, "low": 0.1}
    numbers = {
        **dict.fromkeys((*OVERALL.values(), *TWINS)),
        "sensitivity": interval,
        "accuracy": interval,
        "classes": classes,
    }
    return Run(Path("run"), "run", "completed", {}, {}, {"conditions": {"clean": numbers}})


def test_those_of_a_class_bear_its_name_unless_there_are_many():
    own = {"specificity": {"estimate": 1}, "prevalence": {"estimate": 0.5}, "images": {"estimate": 12}}
    assert quality(run_with({"No Finding": own})) == {"sensitivity/clean": 0.5, "specificity/clean No Finding": 1.0}
    assert quality(run_with({str(number): own for number in range(51)})) == {"sensitivity/clean": 0.5}


@pytest.mark.slow
def test_a_report_is_sent_to_event_files_as_pictures(finished, reported, events):
    assert reported(finished, "log_to=[tensorboard]") == 0
    assert "figures/effect_against_epsilon" in events(finished / "report" / "tensorboard").Tags()["images"]
