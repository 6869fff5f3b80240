"""The loggers of a job: which, made of what, refused when, named how, and ended in any case."""

from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from lightning_utilities.core.imports import RequirementCache

from dovision.config.component import Component
from dovision.jobs.hydra_main import train
from dovision.report.loggers import CSVLogger, closing_loggers, make_loggers
from dovision.report.uploader import quality
from dovision.results.classifier_quality import OVERALL
from dovision.results.detection_summary import TWINS
from dovision.results.run_record import Run
from dovision.training.image_classifier import ImageClassifier

SMALL = ("dataset=digits", "training.classifier.epochs=3", "training.autoencoder.epochs=1", "autoencoder=conv_1x1")
NOT_PARTIAL = {"_target_": "pytorch_lightning.loggers.CSVLogger", "name": None, "version": "own"}


def test_a_class_of_lightning_needs_no_more_than_its_yaml_and_any_other_is_refused(tmp_path):
    component = Component("logger.own", NOT_PARTIAL)
    (logger,) = make_loggers({"own": component}, tmp_path, name="n", group="g", job_type="train", config={"a": 1})
    logger.log_metrics({"loss": 0.5}, step=1)
    logger.finalize("success")
    assert {path.name for path in (tmp_path / "own").iterdir()} == {"metrics.csv", "hparams.yaml"}
    with pytest.raises(ValueError, match=r"logger\.own must be a logger of Lightning, got an object of class Counter"):
        make_loggers({"own": Component("logger.own", {"_target_": "collections.Counter"})}, tmp_path,
                     name="n", group="g", job_type="train")  # fmt: skip


@pytest.mark.parametrize("error", [None, ValueError("no"), KeyboardInterrupt()])
def test_all_are_ended_whatever_ends_the_block_and_whichever_of_them_raises(error):
    ends = []

    def finalize(status):
        ends.append(status)
        if len(ends) == 1 and error is None:
            raise OSError("disk full")

    def job():
        with closing_loggers([SimpleNamespace(finalize=finalize)] * 2):
            if error is not None:
                raise error

    with pytest.raises(type(error or OSError())):
        job()
    assert ends == (["success"] * 2 if error is None else ["failed"] * 2)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("logger=none", "logger has no component 'none'. For none of them: logger=[]. It has: csv, tensorboard"),
        ("logger=false", "logger takes a name, got false. For none of them: logger=[]. It has: csv, tensorboard"),
        ("logger=csv logger.csv.fodler=x", "logger.csv has no key 'fodler'. Did you mean folder?"),
        ("logger=csv logger.csv.folder=../x", "logger.csv.folder must be a name"),
        ("logger=wandb logger.wandb.mode=on", "logger.wandb.mode must be one of offline, online, disabled, got 'on'"),
        ("logger=wandb logger.wandb.patience=0", "logger.wandb: patience must be"),
        ("logger=csv +logger.x=3", "logger.x must be a component, got 3"),
    ],
)
def test_a_wrong_logger_is_refused_in_a_line_before_anything_starts(
    words, message, dovision_evaluate, tmp_path, capsys
):
    assert dovision_evaluate(*words.split(), f"output_root={tmp_path / 'out'}") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "flag", "remedy"),
    [
        ("tensorboard", "lightning_fabric.loggers.tensorboard._TENSORBOARD_AVAILABLE", "Try `pip install`ing either."),
        ("wandb", "pytorch_lightning.loggers.wandb._WANDB_AVAILABLE", "pip install -U 'wandb"),
    ],
)
def test_a_logger_whose_package_is_missing_says_how_to_install_it(
    name, flag, remedy, dovision_evaluate, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(flag, RequirementCache(f"{name}>9999", None))
    assert dovision_evaluate(f"logger=[csv,{name}]", f"output_root={tmp_path / 'out'}") == 1
    printed = capsys.readouterr().err
    assert f"logger.{name}: " in printed
    assert remedy in printed
    assert not (tmp_path / "out").exists()


@pytest.mark.long
def test_curves_of_two_fits_are_told_apart_and_a_stopped_one_goes_on(
    tmp_path, run_command, monkeypatch, events, offline_runs, history
):
    """Stopped in its second epoch, after some steps whose numbers are lost; in every dashboard it is one run."""
    words, steps = (*SMALL, "logger=[csv,tensorboard,wandb]", f"output_root={tmp_path}"), []
    step = ImageClassifier.training_step

    def stopping(self, *arguments):
        steps.append(1)
        if len(steps) == 100:
            raise RuntimeError("stopped")
        return step(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(ImageClassifier, "training_step", stopping)
        with pytest.raises(RuntimeError, match="stopped"):
            run_command(train, *words)
    assert run_command(train, *words) == 0
    (folder,) = (tmp_path / "train").iterdir()
    rows = pd.read_csv(folder / "csv" / "metrics.csv").set_index("step")
    assert rows.index.is_unique
    assert rows["epoch"].dropna().unique().tolist() == [0, 1, 2]
    (fit,) = (tmp_path / "checkpoints").glob("classifier-*/epochs.csv")
    scores = pd.read_csv(fit)
    assert rows["val_loss"].dropna().tolist() == scores["val_loss"].tolist()
    assert rows["train_loss"].dropna().tolist() == scores["train_loss"].tolist()
    assert rows["autoencoder/train_loss"].notna().sum() == 1
    found = events(folder / "tensorboard")
    sent = [history(records) for records in offline_runs(folder)]
    assert len(sent) == 2
    for metric in ("val_loss", "train_loss", "train_loss_step", "lr", "autoencoder/val_loss"):
        curve = rows[metric].dropna()
        assert {event.step: event.value for event in found.Scalars(metric)} == pytest.approx(curve.to_dict())
        assert sent[0].get(metric, {}) | sent[1].get(metric, {}) == pytest.approx(curve.to_dict())
    assert not sent[0]["val_loss"].keys() & sent[1]["val_loss"].keys()
    assert len({records["run"][0]["run_id"] for records in offline_runs(folder)}) == 1
    assert not list(folder.glob("*/run_id.txt"))


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


def test_a_disk_that_fails_while_a_column_is_added_leaves_rows_of_one_length(tmp_path, monkeypatch):
    logger = CSVLogger(str(tmp_path), "csv")
    logger.log_metrics({"a": 1.0}, step=0)
    logger.save()
    logger.log_metrics({"b": 2.0}, step=1)

    def fail(writer, names):
        raise OSError("disk")

    with monkeypatch.context() as failing:
        failing.setattr(type(logger.experiment), "_rewrite_with_new_header", fail)
        with pytest.raises(OSError, match="disk"):
            logger.save()
    logger.finalize("failed")
    again = CSVLogger(str(tmp_path), "csv")
    again.log_metrics({"c": 3.0}, step=2)
    again.finalize("success")
    rows = pd.read_csv(tmp_path / "csv" / "metrics.csv")
    assert rows.set_index("step")[["a", "b", "c"]].stack().dropna().to_dict() == {(0, "a"): 1, (1, "b"): 2, (2, "c"): 3}
