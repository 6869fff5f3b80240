import pytest

from dovision.runtime.stage import BYTES, Stage, Steps


def test_a_line_has_what_is_done_of_how_many_the_rate_and_the_time_left():
    stage = Stage("effects", "passes", 4000, 0, now=0.0)
    assert stage.line(0.0) == "effects: 0/4,000 passes, - left"
    stage.advance(1000)
    stage.measure(10.0)
    assert stage.line(10.0) == "effects: 1,000/4,000 passes, 100/s, 0:00:30 left"
    stage.advance(3000)
    assert stage.line(10.0) == "effects: 4,000/4,000 passes, 100/s"


def test_bytes_are_written_in_units_of_thousands():
    stage = Stage("films.tar", BYTES, 42_000_000_000, 1_500_000, now=0.0)
    stage.advance(2_000_000)
    stage.measure(4.0)
    assert stage.line(4.0).startswith("films.tar: 3.5 MB/42.0 GB, 500.0 kB/s, 23:19:")


def test_a_stage_whose_whole_is_not_known_counts():
    stage = Stage("hashes", "files", None, 0, now=0.0)
    stage.advance(3)
    stage.measure(1.0)
    assert stage.line(1.0) == "hashes: 3 files, 3.0/s, - left"
    assert stage.bar("").share is None


def test_the_bar_of_a_job_counts_its_steps_and_the_share_of_the_one_at_hand():
    steps = Steps("seed=1", ["data", "fits", "effects", "summary"], now=0.0)
    steps.go_to("effects", now=5.0)
    bar = steps.bar(0.5, "")
    assert (bar.name, bar.amount, bar.share) == ("job seed=1", "step 3/4: effects", 0.625)
    assert steps.are_nearly_done
    assert steps.line(65.0) == "effects: 0:01:00 so far"


def test_a_step_that_a_job_does_not_have_is_refused():
    with pytest.raises(ValueError, match="maps"):
        Steps("", ["effects"], now=0.0).go_to("maps", now=0.0)
