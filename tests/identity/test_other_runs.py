"""What a run reads that other runs have left is part of its origin, whatever it is."""

import os
import re
import shutil
import sys
from fnmatch import fnmatch
from pathlib import Path

import pytest

from dovision.identity import digests
from dovision.io.atomic import PARTIAL
from dovision.jobs.hydra_main import evaluate as main
from dovision.jobs.job import Job
from dovision.results.run_record import DONE, Run
from made_config import read
from made_datasets import flip

SMALL = ("dataset=digits", "training.classifier.epochs=1", "training.autoencoder.epochs=1", "evaluation.images=12")
SMALL += ("evaluation.num_thumbnails=2", "detection.val_images=40", "detection.test_images=12", "output_root=.")
USER = ("name=user", "intervention=activation", "attack=fgsm", "attack.eps=0.1", "hydra.run.dir=user")
USER += ("detector=[max_softmax]", "+attack@detection.attacks.fgsm=fgsm", "detection.attacks.fgsm.eps=0.1")
USER += ("explainer=[random_map]",)
WEIGHTS = "checkpoints/*/*.ckpt"
READ = {  # what a run may read below its output root, besides its own directory: why another content is noticed
    WEIGHTS: "`checkpoints` of run.json",
    "checkpoints/*/key.json": "named in the log, to say why a model is fitted again",
    ".fingerprints.json": "bears a digest of itself; its entries count as long as their files have not changed",
}
opened: list[str] = []


def listen(event: str, arguments: tuple[object, ...]) -> None:
    """Note each file that is opened to read it, but for those that are being written aside."""
    if event == "open" and isinstance(arguments[0], str | os.PathLike):
        path, writes = os.path.abspath(arguments[0]), int(arguments[2]) & (os.O_WRONLY | os.O_RDWR)
        if not writes and PARTIAL not in path and os.path.isfile(path):
            opened.append(path)


@pytest.fixture(scope="module")
def original(tmp_path_factory, run_command, fitted):
    """A run that uses all that a run can of others, and what it has read of them."""
    root = tmp_path_factory.mktemp("original")
    shutil.copytree(fitted / "checkpoints", root / "checkpoints")
    with pytest.MonkeyPatch.context() as context:
        context.chdir(root)
        sys.addaudithook(listen)
        opened.clear()
        assert run_command(main, *SMALL, *USER) == 0
    below = {os.path.relpath(path, root) for path in opened if path.startswith(f"{root}{os.sep}")}
    return root, {path for path in below if not path.startswith(f"user{os.sep}")}


@pytest.fixture
def condition(original, tmp_path, monkeypatch):
    """A copy of it, to change."""
    shutil.copytree(original[0], tmp_path / "condition")
    monkeypatch.chdir(tmp_path / "condition")
    monkeypatch.setattr(digests, "SETTLED", -60.0)
    return tmp_path / "condition"


def unlike() -> str:
    run = Run(Path("user"))
    reason = Job(run.folder, (), read(*SMALL, *USER)).reason_to_skip(run)
    assert (reason == DONE) == (run.problem == "")
    return run.problem


def test_all_that_is_read_of_other_runs_is_listed(original):
    found = original[1]
    assert {path for path in found if not any(fnmatch(path, pattern) for pattern in READ)} == set()
    kinds = {Path(path).parent.name.partition("-")[0] for path in found if fnmatch(path, WEIGHTS)}
    assert kinds == {"classifier", "autoencoder"}


def test_each_file_of_other_runs_counts(condition, original):
    assert unlike() == ""
    recorded = Run(Path("user")).read_record()
    assert set(recorded["checkpoints"]) == {"classifier", "autoencoder"}
    for name in sorted(name for name in original[1] if fnmatch(name, WEIGHTS)):
        content = Path(name).read_bytes()
        flip(Path(name))
        assert re.match("other weights of the", unlike())
        Path(name).write_bytes(content)
        assert unlike() == ""


@pytest.mark.parametrize("name", ["*", "classifier-*", "autoencoder-*"])
def test_networks_that_are_gone_are_the_same_if_all_that_shapes_their_fits_is(condition, name):
    for folder in condition.glob(f"checkpoints/{name}"):
        shutil.rmtree(folder)
    assert unlike() == ""
