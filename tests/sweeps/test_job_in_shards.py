"""A job that is cut into shards: the merged run has the bytes of one that is not cut, whatever happens on the way."""

from __future__ import annotations

import os
import shutil
import signal

import pytest

from dovision.cli import evaluate
from dovision.identity import code as code_of
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
    return run.record


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


def test_maps_of_shards_are_those_of_one_run(small, again):
    options = (
        "explainer=[random_map,smooth_grad]",
        "explainer.smooth_grad.arguments.nt_samples=2",
        "explanation.num_sanity_images=3",
    )
    options += ("explanation.cells=4", "explanation.steps=2", "evaluation.batch_size=2")
    one = completed(small, *options)
    again()
    merged = completed(small, *options, *FIVE)
    assert tables(merged) == tables(one)
    assert "maps.parquet" in tables(one)
    assert merged["passes_per_map"] == one["passes_per_map"]


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


def forked(run):
    """The number of a process that exits with the code of a command."""
    process = os.fork()
    if not process:
        try:
            os._exit(run())
        finally:
            os._exit(70)
    return process


def code(process):
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def test_of_processes_at_work_on_shards_one_is_killed_and_loses_nothing(small, again, in_batch, capfd):
    job = (FIVE[0], "evaluation.checkpoint_every=2", "evaluation.shards=3")
    one = tables(completed(small, *job[:2]))
    again()

    def shard(number, batch=None, happen=None):
        if happen:
            in_batch(batch, happen)
        return small(*job, f"evaluation.shard={number}")

    def die():
        os.kill(os.getpid(), signal.SIGKILL)

    at_work = [forked(lambda: shard(0)), forked(lambda: shard(1, 1, die)), forked(lambda: shard(2))]
    assert [code(process) for process in at_work] == [0, -signal.SIGKILL, 0]
    killed = next(small.root.glob("*-1-of-3"))
    assert RunDirectory(killed).state == "interrupted"
    (in_the_batch, begun), (end, over) = os.pipe(), os.pipe()

    def wait():
        os.write(begun, b"b")
        os.read(end, 1)

    process = forked(lambda: shard(1, 0, wait))  # in the only batch that is left
    os.read(in_the_batch, 1)
    assert shard(1) == 1
    assert f"{killed} must be free, got one that another process is writing" in capfd.readouterr().err
    os.write(over, b"o")
    assert code(process) == 0
    (merged,) = (run for run in survey(small.root) if run.state == "completed")
    assert tables(merged.record) == one


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
    assert "got 1 that are not: 1 (" in printed
    assert ("other code (0123456789ab, now" if change == "origin" else "effects.parquet has 0 of") in printed
    assert RunDirectory(merged).state == "missing"
    assert tables(completed(small, *THREE, "on_failure=stop")) == three  # the shard is measured again


def test_after_a_change_of_code_the_same_command_measures_and_merges_again(small, three, monkeypatch, capsys):
    before = completed(small, *THREE)
    modules = code_of.modules
    other = {code_of.OF_RUNS: {"changed.py": "0123456789ab"}}  # and no other fit
    monkeypatch.setattr(code_of, "modules", lambda config, roots: other.get(roots) or modules(config, roots))
    assert small("evaluation.shards=3") == 1  # leaves the merged run as it is
    after = completed(small, "evaluation.shards=3", "evaluation.shard=0")
    assert after == before
    assert "shards 1, 2 of 3 are of other code, data or weights, and are to be measured" in capsys.readouterr().err
    after = completed(small, *THREE, "on_failure=stop")
    assert after["modules"] == other[code_of.OF_RUNS]
    assert tables(after) == three


def test_who_tried_to_merge_too_early_looks_again(small, three, monkeypatch):
    assert small("evaluation.shards=3", "evaluation.shard=0,1", "-m") == 1
    looks = iter([{}, {1: "other code"}])  # by the second, under the lock, shard 1 is outdated; then it is not
    monkeypatch.setattr(evaluate, "outdated_shards", lambda *_: next(looks, {}))
    assert tables(completed(small, "evaluation.shards=3", "evaluation.shard=2")) == three
    assert next(looks, None) is None


def test_a_damaged_merged_run_is_merged_again(small, three, capsys):
    assert small(*THREE) == 0
    (merged_folder(next(small.root.glob("*-0-of-3"))) / "effects.parquet").write_bytes(b"")
    assert tables(completed(small, *THREE)) == three
    assert "completed already; none is started" not in capsys.readouterr().err


@pytest.mark.parametrize("own", [("hydra.run.dir={}/own",), ("hydra.sweep.subdir=own", "-m")])
def test_a_shard_in_a_folder_of_another_name_is_refused(small, tmp_path, capsys, own):
    overrides = [override.format(tmp_path) for override in own]
    assert small("evaluation.shards=3", "evaluation.shard=1", *overrides) == 1
    assert "evaluation.shard=1 needs a run directory of its own name" in capsys.readouterr().err
    assert not list(small.root.parent.rglob("run.json"))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("evaluation.shards=2", "evaluation.shard=2"), "evaluation.shard must be below evaluation.shards, got 2 of 2"),
        (
            ("evaluation.shards=2", "detector=[entropy]", "+attack@detection.attacks.fgsm=fgsm"),
            "but no detection, whose fits and thresholds need all images, got 2 shards and detector=entropy",
        ),
        (("evaluation.shards=2", "evaluation.store_adversarial=true"), "evaluation.store_adversarial needs one run"),
        (("evaluation.shards=4", "evaluation.shard=0"), "must be at most the number of batches, 3 of 4 images, got 4"),
    ],
)
def test_what_cannot_be_cut_is_refused(small, capsys, overrides, message):
    assert small(*overrides) == 1
    assert message in capsys.readouterr().err
    assert not list(small.root.parent.rglob("run.json"))


def test_more_shards_or_devices_than_batches_are_refused_before_any_starts(small, capsys):
    few = "must be at most the number of batches, 3 of 4 images, got 4"
    assert small("evaluation.shards=4", "evaluation.shard=range(4)", "-m") == 1
    printed = capsys.readouterr().err
    assert "4 of 4 jobs cannot run, and none was started" in printed
    assert printed.count(f"evaluation.shards {few}") == 4
    assert small("trainer.devices=4", "trainer.strategy=ddp", "trainer.accelerator=cpu") == 1
    assert f"trainer.devices {few}" in capsys.readouterr().err
    assert not list(small.root.parent.rglob("run.json"))
