"""A completed run stands for the one that is asked for only if its files, code, data and weights are those of now."""

import re
import shutil
import types
from importlib import metadata

import pytest

from dovision.identity import code as code_of
from dovision.identity import digests
from dovision.io import sealed
from dovision.jobs import evaluation_callbacks
from dovision.jobs.hydra_main import evaluate as main
from dovision.jobs.hydra_main import train
from dovision.jobs.job import Job
from dovision.models import checkpoint
from dovision.results.run_record import DONE, Run, read_sweep
from dovision.training.image_classifier import ImageClassifier
from made_config import read
from made_datasets import exchange, flip, write_pictures

SMALL = ("dataset=image_folder", "dataset.classes=[dark,light]", "dataset.shape=[1,16,16]", "model=small_resnet")
SMALL += ("model.width=2", "training.classifier.epochs=1", "intervention.rows=2", "intervention.columns=2")
SMALL += ("evaluation.images=4", "evaluation.num_thumbnails=1")
HERE = ("dataset.root=data", "checkpoint=given.ckpt", "output_root=outputs")


@pytest.fixture(scope="module")
def original(tmp_path_factory, run_command):
    """A folder with pictures, a checkpoint, and a run by it that is completed; the command is given there."""
    root = tmp_path_factory.mktemp("original")
    write_pictures(root / "data", 0)
    write_pictures(root / "other", 1)
    with pytest.MonkeyPatch.context() as context:
        context.chdir(root)
        fit = [each for each in SMALL if not each.startswith(("intervention", "evaluation"))]
        assert run_command(train, *fit, "dataset.root=data", "output_root=fitted") == 0
        (fitted,) = root.glob("fitted/checkpoints/*/classifier.ckpt")
        shutil.copy(fitted, root / "given.ckpt")
        shutil.rmtree(root / "fitted")
        assert run_command(main, *SMALL, *HERE) == 0
    return root


@pytest.fixture
def condition(original, tmp_path, monkeypatch):
    """A copy of it, with what differs now in the run from the one that the command asks for."""
    root = tmp_path / "condition"
    shutil.copytree(original, root, copy_function=shutil.copy2)
    monkeypatch.chdir(root)
    (run,) = read_sweep(root / "outputs" / "evaluate")

    def asked(*overrides: str) -> tuple[Run, str]:
        now = Run(run.folder)
        return now, Job(run.folder, (), read(*SMALL, *HERE, *overrides)).reason_to_skip(now)

    def differs(*overrides: str) -> str:
        now, reason = asked(*overrides)
        assert (reason == DONE) == (now.problem == "")
        return now.problem

    return types.SimpleNamespace(root=root, folder=run.folder, differs=differs, asked=asked)


@pytest.mark.parametrize(
    ("state", "rerun", "skip"),
    [
        ("failed", "null", ""),
        ("failed", "failed", ""),
        ("interrupted", "failed", "skipped (state: interrupted, rerun=failed)"),
        ("failed", "unfinished", "skipped (state: failed, rerun=unfinished)"),
        ("missing", "unfinished", ""),
        ("completed", "all", ""),
    ],
)
def test_rerun_chooses_jobs_by_their_state(tmp_path, state, rerun, skip):
    job = Job(tmp_path, (), read(*SMALL, *HERE, f"rerun={rerun}"), shared=None)  # of which no plan is made
    assert job.reason_to_skip(types.SimpleNamespace(look=lambda: Run(tmp_path, state=state))) == skip


def test_a_run_of_other_settings_does_not_stand_wherever_it_lies(condition):
    """As where a run was copied under the name of another, or hydra.run.dir is that of another."""
    told = condition.differs("intervention.rows=4")
    assert re.fullmatch(r"other settings \(\w{12}, now \w{12}\)", told)
    assert condition.differs("trainer.devices=2", "evaluation.checkpoint_every=1", "output_root=elsewhere") == ""


def test_finished_rows_of_other_settings_are_not_taken_up(condition, run_command):
    whole = (condition.folder / "effects.parquet").read_bytes()
    there = ("intervention.rows=4", "evaluation.checkpoint_every=1", f"hydra.run.dir={condition.folder}")
    with pytest.MonkeyPatch.context() as context:
        context.setattr("dovision.jobs.evaluate.write_summary", lambda folder: 1 / 0)
        assert run_command(main, *SMALL, *HERE, *there) == 1
    assert list(condition.folder.glob("chunks/*"))
    assert run_command(main, *SMALL, *HERE) == 0
    assert (condition.folder / "effects.parquet").read_bytes() == whole


@pytest.mark.parametrize(("gone", "told"), [("data", "root must be a folder"), ("given.ckpt", "no checkpoint")])
def test_where_data_or_weights_are_missing_nobody_knows(condition, gone, told):
    (condition.root / gone).rename(condition.root / "gone")
    with pytest.raises((FileNotFoundError, ValueError), match=told):
        condition.differs()


def test_a_damaged_checkpoint_is_an_error_and_no_reason_to_give_up_a_run(condition):
    flip(condition.root / "given.ckpt", (condition.root / "given.ckpt").stat().st_size // 2)
    with pytest.raises(ValueError, match="given.ckpt"):
        condition.differs()


@pytest.mark.parametrize(
    ("target", "package"),
    [
        ("dovision.interventions.segments.Segments", "skimage"),
        ("dovision.interventions.Segments", "skimage"),
        ("dovision.Segments", "skimage"),
        ("dovision.attacks.foolbox_attack.FoolboxAttack", "foolbox"),
        ("dovision.explainers.attributions.Occlusion", "captum"),
        ("dovision.explainers.class_activation_maps.CAM", "pytorch_grad_cam"),
        ("dovision.models.hf_model.HfModel", "transformers"),
        ("dovision.detectors.effect_consistency.EffectConsistency", "sklearn"),
        ("dovision.datasets.hf_dataset.HfDataset", "datasets"),
        ("dovision.datasets.table.Table", None),
        ("builtins.eval", None),
    ],
)
def test_the_library_that_a_component_computes_with_is_part_of_the_origin(target, package):
    states = code_of.third_party_code({"_target_": target})
    assert package in states if package else states == {}
    for library, state in states.items():
        assert state.startswith(metadata.version(metadata.packages_distributions()[library][0]))


def test_rerun_none_accepts_a_run_of_another_origin_and_says_what_differs(condition, monkeypatch):
    monkeypatch.setattr(code_of, "MEASUREMENT", 99)
    assert condition.asked("rerun=none")[1].startswith("accepted as it is, by rerun=none, with other measurement (")
    assert condition.asked()[0].state == "outdated"


def test_a_job_is_measured_again_if_a_table_differs_and_into_another_folder_with_other_weights(
    condition, run_command, capsys
):
    def command() -> str:
        assert run_command(main, *SMALL, *HERE) == 0
        return capsys.readouterr().err

    assert "already completed, nothing to do" in command()
    table = (condition.folder / "effects.parquet").read_bytes()
    flip(condition.folder / "effects.parquet")
    assert "rerun: effects.parquet" in command()
    assert (condition.folder / "effects.parquet").read_bytes() == table
    content = checkpoint.read_checkpoint(condition.root / "given.ckpt")
    name = next(name for name, tensor in content["state"].items() if tensor.is_floating_point())
    content["state"][name] = content["state"][name] + 1
    sealed.write_sealed(condition.root / "given.ckpt", content)
    command()
    assert (condition.folder / "effects.parquet").read_bytes() == table
    (other,) = set(condition.folder.parent.glob("*/effects.parquet")) - {condition.folder / "effects.parquet"}
    assert other.read_bytes() != table
    assert "already completed, nothing to do" in command()


def test_jobs_of_one_run_directory_with_other_data_are_refused(condition, run_command, capsys):
    assert run_command(main, *SMALL, *HERE[1:], "dataset.root=data,other", "-m") == 1
    assert "jobs 0 and 1 must not write to one run, got dataset.root=data and other" in capsys.readouterr().err


def test_a_run_whose_images_change_under_it_is_no_result_and_leaves_no_rows(condition, run_command, monkeypatch):
    def changed(*arguments: object) -> None:
        written(*arguments)
        exchange(condition.root / "data/test/dark/0.bmp", (condition.root / "other/test/dark/0.bmp").read_bytes())

    monkeypatch.setattr(digests, "SETTLED", -60.0)
    written = evaluation_callbacks.write_objects
    monkeypatch.setattr(evaluation_callbacks, "write_objects", changed)
    assert run_command(main, *SMALL, *HERE, "rerun=all", "evaluation.checkpoint_every=1") == 1
    record = Run(condition.folder).read_record()
    assert (record["state"], record["exception"]["message"].partition(", got ")[2][:10]) == ("failed", "other data")
    assert not (condition.folder / "chunks").exists()


def test_a_job_whose_images_are_not_there_has_failed_even_if_it_was_completed(condition, run_command):
    shutil.rmtree(condition.root / "data" / "test")
    assert run_command(main, *SMALL, *HERE, "rerun=all", "-m") == 1  # a sweep is refused before its first job
    assert run_command(main, *SMALL, *HERE, "rerun=all") == 1
    record = Run(condition.folder).read_record()
    assert (record["state"], "test is missing" in record["exception"]["message"]) == ("failed", True)
    assert "test is missing" in (condition.folder / "run.log").read_text()


def test_a_fit_of_data_that_change_meanwhile_is_not_kept(tmp_path, run_command, monkeypatch, capsys):
    write_pictures(tmp_path / "data", 0)
    write_pictures(tmp_path / "other", 1)
    step = ImageClassifier.training_step

    def changing(self, *arguments):
        exchange(tmp_path / "data/train/dark/0.bmp", (tmp_path / "other/train/dark/0.bmp").read_bytes())
        monkeypatch.setattr(ImageClassifier, "training_step", step)
        return step(self, *arguments)

    monkeypatch.setattr(ImageClassifier, "training_step", changing)
    words = [word for word in SMALL if not word.startswith(("intervention", "evaluation"))]
    words += [f"dataset.root={tmp_path / 'data'}", f"output_root={tmp_path / 'outputs'}"]
    assert run_command(train, *words) == 1
    assert "the files that a fit reads must stay as they are until it ends" in capsys.readouterr().err
    assert not list(tmp_path.glob("outputs/checkpoints/*/*.ckpt"))
    assert run_command(train, *words) == 0
