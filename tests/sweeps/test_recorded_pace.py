"""The pace that a run records, by hand, and a dry run that is scaled from it."""

from types import SimpleNamespace

import pytest
from hydra import compose, initialize_config_dir

from dovision.config import settings
from dovision.config.sources import configuration_folder
from dovision.store.provenance import processor_name
from dovision.sweeps import recorded_pace
from dovision.sweeps.recorded_pace import PACE, PaceRecorder, RecordedPaces

MACHINE = {"machine": "cpu, Model 1, 1 thread"}


@pytest.fixture
def clock(monkeypatch):
    """Seconds that pass only where a test says so."""
    own = SimpleNamespace(now=0.0)
    monkeypatch.setattr(recorded_pace, "undisturbed_seconds", lambda: own.now)
    monkeypatch.setattr(recorded_pace, "_key", lambda settings, threads: "key")
    monkeypatch.setattr(recorded_pace, "machine_name", lambda threads: MACHINE["machine"])
    return own


def recorded(clock, seconds, apart=0, end=2.0):
    """The fact of a test whose batches of 4 images take so many seconds, with a detection of 5 seconds."""
    recorder = PaceRecorder(apart)
    recorder.on_test_start(None, None)
    for took in seconds:
        clock.now += took
        recorder.on_test_batch_end(None, None, None, SimpleNamespace(image=[0] * 4), 0)
    with recorder.fixed():
        clock.now += 5.0
    clock.now += end
    return recorder.facts(None).get("pace")


def test_the_first_batch_and_what_is_fixed_are_the_start_and_the_rest_is_by_image(clock):
    found = recorded(clock, [7.0, 4.0, 4.0, 4.0], end=8.1)
    numbers = {"start": pytest.approx(3.0 + 5.0 + 0.1), "image": 1.0, "end": pytest.approx(0.5)}
    assert found == {**MACHINE, "key": "key", "images": 16, **numbers}


def test_images_that_take_longer_than_the_others_are_set_apart(clock):
    found = recorded(clock, [7.0, 8.0, 4.0, 4.0], apart=6)
    assert (found["start"], found["image"]) == (7.0 + 5.0 + 0.1, 1.0)


def test_a_run_of_one_batch_or_of_no_time_has_no_pace(clock):
    assert recorded(clock, [7.0]) is None
    assert recorded(clock, [7.0, 4.0], apart=8) is None
    assert recorded(clock, [7.0, 0.1]) is None


STATED = ("dataset.classes=[a,b]", "dataset.shape=[1,64,64]")  # since the files are not there


def test_a_run_on_other_files_is_not_alike_and_one_with_another_seed_is(tmp_path):
    def key(*overrides):
        with initialize_config_dir(str(configuration_folder()), version_base="1.3"):
            config = compose("evaluate", ["dataset=image_folder", *STATED, *overrides])
        return recorded_pace._key(settings.read("evaluate", config), 1)

    one = key("dataset.root=one")
    assert key("dataset.root=one", "seed=1", "evaluation.images=3", "name=again") == one
    assert key("dataset.root=two") != one
    assert key("dataset.root=one", "evaluation.batch_size=3") != one


def test_a_run_on_another_processor_or_of_an_unknown_one_is_not_alike(monkeypatch):
    monkeypatch.setattr(recorded_pace, "device_name", lambda: "cpu, Model 1")
    monkeypatch.setattr(recorded_pace, "processor_name", lambda: "Model 1")
    with initialize_config_dir(str(configuration_folder()), version_base="1.3"):
        own = settings.read("evaluate", compose("evaluate", ["dataset=digits"]))
    fact = {"key": recorded_pace._key(own, 1), "images": 9, "start": 1.0, "image": 2.0, "end": 3.0}
    record = {PACE: {**fact, "machine": recorded_pace.machine_name(1)}}
    assert RecordedPaces({"old": {PACE: fact}, "new": record}, 1).like(own).machine == "cpu, Model 1, 1 thread"
    assert RecordedPaces({"new": record}, 2).like(own) is None
    assert RecordedPaces({"old": {PACE: fact}}, 1).like(own) is None
    monkeypatch.setattr(recorded_pace, "device_name", lambda: "cpu, Model 2")
    monkeypatch.setattr(recorded_pace, "processor_name", lambda: "Model 2")
    assert RecordedPaces({"new": record}, 1).like(own) is None
    monkeypatch.setattr(recorded_pace, "device_name", lambda: "Accelerator 9")
    assert recorded_pace.machine_name(4) == "Accelerator 9, cpu, Model 2, 4 threads"


@pytest.mark.slow
def test_a_dry_run_is_scaled_from_a_run_of_fewer_images(small, capsys, monkeypatch):
    monkeypatch.setattr(recorded_pace, "_LEAST", 1e-9)
    assert small("evaluation.images=8", "evaluation.keep=labels") == 0
    (run,) = (path.parent.name for path in small.root.glob("*/run.json"))
    capsys.readouterr()
    assert small("evaluation.keep=labels", "dry_run=true") == 0
    said = capsys.readouterr()
    expected = f"minutes of 1 jobs are scaled from {run}, of 8 images on cpu, {processor_name()}, 1 thread"
    assert said.out.splitlines()[-1] == expected
    assert "timing a batch" not in said.err
    assert small("evaluation.keep=all", "dry_run=true") == 0  # other work is timed
    said = capsys.readouterr()
    assert "scaled from" not in said.out
    assert "timing a batch: effects" in said.err
