"""A run that has lost images says so, and is done again; what was measured is what its record says."""

import itertools

import pandas as pd
import pytest
import pytorch_lightning as pl

from dovision.interfaces import Attack
from dovision.jobs.hydra_main import train
from dovision.results.run_record import read_sweep
from dovision.results.schemas import read_summary
from dovision.results.sweep_summary import ended

BATCHES = ("evaluation.batch_size=4", "evaluation.checkpoint_every=4")  # three batches of twelve images
DETECTION = ("detector=[max_softmax]", "detection.val_images=40", "detection.test_images=20")
DETECTION += ("+attack@detection.attacks.fgsm=fgsm", "detection.attacks.fgsm.eps=0.2")


@pytest.fixture
def limited(monkeypatch):
    """Let every test of a trainer, or only those from the n-th on, see no more than a batch."""
    plain = pl.Trainer.test

    def arrange(first: int = 0) -> None:
        counted = itertools.count()

        def test(trainer, *arguments, **settings):
            if next(counted) >= first:
                trainer.limit_test_batches = 1
            return plain(trainer, *arguments, **settings)

        monkeypatch.setattr(pl.Trainer, "test", test)

    return arrange


def only_run(root):
    (run,) = read_sweep(root / "evaluate")
    return run


def test_a_limited_run_is_partial_and_the_same_command_measures_the_rest(
    fitted, copy, dovision_evaluate, limited, monkeypatch, capsys
):
    command = (f"output_root={copy}", "attack=fgsm", "attack.eps=[0.1,16/255]", *BATCHES)
    limited()
    assert dovision_evaluate(*command) == 1
    assert "partial: 4 of 12 test images were measured; the same command resumes" in capsys.readouterr().err
    run = only_run(copy)
    assert (run.state, run.record["images"]) == ("partial", 4)
    assert ended(0, [], run.folder).failure.startswith("4 of 12 test images were measured")
    assert not (run.folder / "summary.json").exists()
    monkeypatch.undo()
    assert dovision_evaluate(*command) == 0
    assert (only_run(copy).state, only_run(copy).record["images"]) == ("completed", 12)
    whole = only_run(fitted).folder
    for name in ("samples.parquet", "effects.parquet"):
        resumed, undisturbed = (pd.read_parquet(folder / name) for folder in (only_run(copy).folder, whole))
        pd.testing.assert_frame_equal(resumed, undisturbed, atol=1e-5)


def test_maps_that_are_lost_beside_resumed_effects_make_a_run_partial(
    copy, dovision_evaluate, limited, monkeypatch, capsys
):
    command = (f"output_root={copy}", "explainer=[center_map]", *BATCHES)
    with monkeypatch.context() as context:
        context.setattr("dovision.jobs.evaluation_callbacks.write_boxes", lambda *_: 1 / 0)
        assert dovision_evaluate(*command) == 1
    assert only_run(copy).state == "failed"
    limited()
    assert dovision_evaluate(*command) == 1
    assert "partial: 4 of 12 test images were measured" in capsys.readouterr().err


def test_images_lost_in_detection_make_a_run_partial(copy, dovision_evaluate, limited):
    limited(first=1)
    assert dovision_evaluate(f"output_root={copy}", *DETECTION, *BATCHES) == 1
    run = only_run(copy)
    assert (run.state, run.record["reason"]) == ("partial", "8 of 60 images were read for detection")


class Broken(Attack):
    """Attack of another library, which raises."""

    def run(self, batch, classifier, eps):
        raise RuntimeError("CUDA error")


def test_a_foreign_attack_that_raises_leaves_a_partial_run_with_all_others(copy, dovision_evaluate, capsys):
    broken = "+detection.attacks.broken={_target_: tests.jobs.test_partial_runs.Broken, eps: 0.2}"
    assert dovision_evaluate(f"output_root={copy}", *DETECTION, broken) == 1
    run, error = only_run(copy), "RuntimeError at eps=0.2: CUDA error"
    assert (run.state, run.record["failed_attacks"]) == ("partial", {"broken": error})
    assert run.record["reason"] == f"attacks left out of detection: broken ({error})"
    assert f"attack broken: {error}" in (run.folder / "run.log").read_text()
    assert set(pd.read_parquet(run.folder / "attacks.parquet")["attack"]) == {"fgsm"}
    assert read_summary(run.folder)["detection"]


@pytest.mark.parametrize("sweep", [[], ["-m"]], ids=["single", "sweep"])
def test_a_run_that_is_asked_to_be_limited_is_partial_each_time_and_no_error(copy, dovision_evaluate, capsys, sweep):
    command = (f"output_root={copy}", "trainer.limit_test_batches=2", *BATCHES, *sweep)
    for _ in range(2):
        assert dovision_evaluate(*command) == 0
        assert "partial, not a result (limited by trainer.limit_test_batches=2)" in capsys.readouterr().err
        run = only_run(copy)
        assert (run.state, run.record["images"]) == ("partial", 8)
        assert run.record["limits"] == {"trainer.limit_test_batches": 2}
        assert not run.summary
        assert ended(0, [], run.folder).failure == "limited by trainer.limit_test_batches=2; not a result"
    assert len(list((copy / "checkpoints").iterdir())) == 1  # the fit knows nothing of test images


def test_a_fast_run_takes_one_batch_of_everything_detectors_included(tmp_path, dovision_evaluate):
    command = (f"output_root={tmp_path}", "trainer.fast_dev_run=true", *DETECTION, *BATCHES, "explainer=[center_map]")
    assert dovision_evaluate(*command) == 0
    run = only_run(tmp_path)
    assert (run.state, run.record["images"]) == ("partial", 4)
    assert len(pd.read_parquet(run.folder / "maps.parquet").drop_duplicates("sample")) == 4
    attacked = pd.read_parquet(run.folder / "attacks.parquet")
    assert attacked.groupby("split")["sample"].nunique().to_dict() == {"val": 4, "test": 4}


def test_a_limited_fit_is_never_found_for_a_whole_one_and_its_file_says_so(tmp_path, run_command, capsys):
    fits = ("dataset=digits", f"output_root={tmp_path}", "training.classifier.epochs=1")
    assert run_command(train, *fits, "trainer.limit_train_batches=2") == 0
    limited_by = "limited by trainer.limit_train_batches=2"
    assert f"trial fit, not a result: {limited_by}" in capsys.readouterr().err
    (limited,) = tmp_path.glob("checkpoints/*/classifier.ckpt")
    assert run_command(train, *fits) == 0
    assert len(list(tmp_path.glob("checkpoints/*/classifier.ckpt"))) == 2
    capsys.readouterr()
    assert run_command(train, *fits[:-1], f"checkpoint={limited}") == 0
    assert f"{limited} is a trial fit, {limited_by}" in capsys.readouterr().err
