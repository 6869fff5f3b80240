"""A job that is cut into shards: the merged run has the bytes of one that is not cut, whatever happens on the way."""

from __future__ import annotations

import shutil

import pytest

from dovision.store.job_shards import merged_folder, shard_folders
from dovision.store.run_directory import RunDirectory
from dovision.store.run_record import survey

FIVE = ("evaluation.batch_size=2", "evaluation.shards=5", "evaluation.shard=range(5)", "-m")
THREE = ("evaluation.shards=3", "evaluation.shard=0,1,2", "-m")
COUNTS = ("images", "forward_passes", "skipped_edits", "queries", "dead_gradients", "chunk_limit")
UNLIKE = (".hydra/config.yaml", ".hydra/overrides.yaml")  # which name the shards

pytestmark = pytest.mark.slow


def completed(small, *overrides):
    """The facts of the one run that is no shard."""
    assert small(*overrides) == 0
    (run,) = (run for run in survey(small.root) if run.state == "completed")
    return run.facts


def tables(facts):
    return {name: found["sha256"] for name, found in facts["digests"].items() if name not in UNLIKE}


@pytest.fixture
def again(small):
    """Forget the runs, but not the fitted network."""
    return lambda: shutil.rmtree(small.root)


@pytest.fixture(scope="module")
def whole():
    return {}


@pytest.fixture
def three(small, whole, again):
    """The tables of the job in one piece."""
    if not whole:
        whole.update(tables(completed(small)))
        again()
    return whole


def test_five_shards_give_the_bytes_of_one_run(small, again):
    options = ("evaluation.keep=labels", "evaluation.num_thumbnails=3")
    one = completed(small, *options, FIVE[0])
    again()
    merged = completed(small, *options, *FIVE)
    assert tables(merged) == tables(one)
    assert {name: merged.get(name) for name in COUNTS} == {name: one.get(name) for name in COUNTS}
    assert {"samples.parquet", "effects.parquet", "effect_sums.parquet", "summary.json"} <= set(tables(one))
    assert len(list(small.root.glob("*-of-5"))) == 5


def test_the_same_command_does_what_is_missing(small, three, in_batch, capsys):
    def fail():
        raise RuntimeError("a node is lost")

    in_batch(1, fail)
    assert small(*THREE) == 1
    printed = capsys.readouterr().err
    assert "4 jobs: 2 completed, 1 failed, 1 missing." in printed
    assert small("evaluation.shards=3") == 1  # asks for the merged run
    assert "got 1 that are not: 1 (failed). Measure them with -m evaluation.shard=1," in capsys.readouterr().err
    assert tables(completed(small, *THREE)) == three
    assert "completed already" not in capsys.readouterr().err
    assert small(*THREE) == 0
    assert "all 3 jobs are completed already" in capsys.readouterr().err


def test_of_two_that_merge_at_once_one_leaves_it_to_the_other(small, three, capsys):
    assert small("evaluation.shards=3", "evaluation.shard=0,1", "-m") == 1
    merged = RunDirectory(merged_folder(next(small.root.glob("*-0-of-3"))))
    merged.hold()
    assert small("evaluation.shards=3", "evaluation.shard=2") == 0
    assert "another process merges the shards" in capsys.readouterr().err
    merged.close()
    assert tables(completed(small, *THREE)) == three  # which measures nothing, and merges


@pytest.mark.parametrize("change", ["origin", "bytes"])
def test_a_shard_of_something_else_is_refused(small, three, capsys, change):
    assert small(*THREE) == 0
    merged = merged_folder(next(small.root.glob("*-0-of-3")))
    shutil.rmtree(merged)
    folder = shard_folders(merged, 3)[1]
    if change == "origin":
        run = RunDirectory(folder)
        run.hold()
        run.record({"code": "0123456789ab"})
        run.close()
    else:
        (folder / "effects.parquet").write_bytes(b"")
    assert small("evaluation.shards=3") == 1
    printed = capsys.readouterr().err
    assert "shard 1 of 3 must be of the run that it is merged into, got" in printed
    assert ("other code in" if change == "origin" else "effects.parquet has 0 of") in printed
    if change == "origin":
        assert tables(completed(small, *THREE)) == three  # the shard is measured again


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("evaluation.shards=2", "evaluation.shard=2"), "evaluation.shard must be below evaluation.shards, got 2 of 2"),
        (("evaluation.shard=0", "evaluation.shards=2", "explainer=[center_map]"), "cuts the measurement of effects"),
        (("evaluation.shards=2", "evaluation.store_adversarial=true"), "evaluation.store_adversarial needs one run"),
        (("evaluation.shards=4", "evaluation.shard=0"), "must be at most the number of batches, 3 of 4 images, got 4"),
    ],
)
def test_what_cannot_be_cut_is_refused(small, capsys, overrides, message):
    assert small(*overrides) == 1
    assert message in capsys.readouterr().err
