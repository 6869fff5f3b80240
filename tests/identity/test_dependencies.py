"""All that a run can depend on, changed one by one: its rows have another key, or the same where no number changes."""

import copy
import os
import shutil
import sys
from pathlib import Path

import pytest
from omegaconf import open_dict

from dovision.config import settings
from dovision.functional import sample_order
from dovision.identity import code, dependencies
from dovision.identity.dependencies import AUTOENCODER, CLASSIFIER, Shared
from dovision.identity.relevance import IRRELEVANT_TO_RESULTS, WATCHING
from dovision.io.files import sha256
from dovision.jobs.job import Job
from dovision.models import checkpoint
from made_config import composed, read
from made_datasets import exchange, write_pictures

pytestmark = pytest.mark.slow
COMMAND = ("dataset=image_folder", "dataset.root=data", "dataset.classes=[dark,light]", "dataset.shape=[1,16,16]")
COMMAND += ("model=small_resnet", "model.width=2", "checkpoint=given.ckpt", "evaluation.images=4")
COMMAND += ("intervention._target_=mine.Grid", "+intervention.file=fill.txt")

GRID = """import importlib
import beside
import folder
from dovision.interventions.pixel_grid import PixelGrid

importlib.import_module("by_name")
files = ("levels.json",)

class Grid(PixelGrid):
    libraries = ("skimage",)

    def __init__(self, rows, columns, fill, file):
        super().__init__(rows, columns, fill)
"""


def forget_code() -> None:
    """As a new process would."""
    for function in vars(code).values():
        getattr(function, "cache_clear", int)()
    for name in ("mine", "beside", "by_name", "folder"):
        sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """A folder with all that a run is made of; the names below are links, which can be switched."""
    root = tmp_path_factory.mktemp("original")
    for number in (0, 1):
        write_pictures(root / f"data-{number}", number)
    (root / "mine.py").write_text(GRID)
    for name in ("beside.py", "by_name.py"):
        (root / name).write_text("LEVEL = 1\n")
    (root / "folder").mkdir()
    for name in ("folder/__init__.py", "folder/inside.npy", "levels.json"):
        (root / name).write_text("")
    (root / "fill.txt").write_text("one")
    with pytest.MonkeyPatch.context() as context:
        context.chdir(root)
        context.setenv("FILL", "0.5")
        job = read(*COMMAND)
        network = job.model.make()
        for number in (0, 1):
            checkpoint.save_checkpoint(root / f"given-{number}.ckpt", network, job.model.record(), None, {})
            next(network.parameters()).data += 1
    os.symlink("data-0", root / "data")
    os.symlink("given-0.ckpt", root / "given.ckpt")
    return root


@pytest.fixture
def condition(original, tmp_path, monkeypatch):
    """A copy of it, in which the command is given."""
    root = tmp_path / "condition"
    shutil.copytree(original, root, symlinks=True)
    monkeypatch.chdir(root)
    monkeypatch.syspath_prepend(root)
    monkeypatch.setenv("FILL", "0.5")
    forget_code()
    yield root
    forget_code()


def identified(*overrides: str) -> Job:
    config = composed(*COMMAND, *overrides)
    with open_dict(config):
        config.intervention.fill.value = "${oc.decode:${ oc.env :FILL}}"
    return Job(Path("run"), (), settings.read("evaluate", config)).identified()


def differences(before: Job, job: Job) -> list[str]:
    """Differences of a run of the job before from a job."""
    files = {name: str(key.path) for name, key in before.networks.items()}
    return job.differences({**before.origin, "checkpoint_files": files})


def switch(link: Path, target: str) -> None:
    link.unlink()
    link.symlink_to(target)


def write(path: Path, text: str) -> None:
    path.write_text(text)
    forget_code()


def upgrade(context: pytest.MonkeyPatch, package: str) -> None:
    """Let a library be installed with other files under its version."""
    state = code.package_state
    context.setattr(code, "package_state", lambda name: "99.0" if name == package else state(name))


def replace_image(root: Path) -> None:
    exchange(root / "data-0/test/dark/0.bmp", (root / "data-1/test/dark/0.bmp").read_bytes())


def test_files_behind_links_below_a_named_folder_count_and_a_circle_ends(tmp_path):
    for number in (0, 1):
        (tmp_path / f"behind-{number}").mkdir()
        (tmp_path / f"behind-{number}" / "file").write_text(str(number))
    (tmp_path / "folder" / "below").mkdir(parents=True)
    (tmp_path / "folder" / "circle").symlink_to(tmp_path)
    link = tmp_path / "folder" / "below" / "link"
    link.symlink_to("nowhere")
    config = {"explainer": {"root": str(tmp_path / "folder")}, "model": {"source": str(link.parent)}}
    named = [dependencies.files_named(config, sha256)]
    for number in (0, 1):
        switch(link, f"../../behind-{number}")
        named.append(dependencies.files_named(config, sha256))
    assert all(len({files[name] for files in named}) == 3 for name in ("explainer.root", "model.source"))


CHANGES = {  # what a run can depend on: how it is changed, and the first words of what is told
    "bytes of an image": (lambda root, context: replace_image(root), "other data"),
    "label of an image": (
        lambda root, context: (root / "data-0/test/dark/0.bmp").rename(root / "data-0/test/light/9.bmp"),
        "other data",
    ),
    "link to the data": (lambda root, context: switch(root / "data", "data-1"), "other data"),
    "order of the splits": (lambda root, context: context.setattr(sample_order, "ORDER_VERSION", 99), "other data"),
    "bytes of the checkpoint": (
        lambda root, context: exchange(root / "given-0.ckpt", (root / "given-1.ckpt").read_bytes()),
        "other weights of the classifier",
    ),
    "a file that a component names": (lambda root, context: write(root / "fill.txt", "two"), "other files"),
    "a component of the user": (
        lambda root, context: write(root / "mine.py", (root / "mine.py").read_text() + "CHANGED = 1\n"),
        "other components: mine",
    ),
    **{
        change: (lambda root, context, name=name: write(root / name, "LEVEL = 2\n"), "other components: mine")
        for change, name in {
            "a module that it imports": "beside.py",
            "a module that it imports by a name": "by_name.py",
            "a data file that it lists": "levels.json",
        }.items()
    },
    "a package that it imports": (
        lambda root, context: write(root / "folder" / "inside.npy", "other"),
        "other components: folder",
    ),
    **{
        f"the library {package}": (
            lambda root, context, package=package: upgrade(context, package),
            f"other components: {package}",
        )
        for package in ("PIL", "skimage")
    },
    "torch": (lambda root, context: context.setattr(code, "version", lambda name: "99.0"), "other torch"),
    "the measurement": (lambda root, context: context.setattr(code, "MEASUREMENT", 99), "other measurement"),
    "a value of the environment": (lambda root, context: context.setenv("FILL", "0.25"), "other settings"),
}
IRRELEVANT = {
    "nothing": lambda root, context: None,
    "times of all files": lambda root, context: [os.utime(path) for path in root.rglob("*")],
    "files of equal bytes": lambda root, context: switch(root / "data", shutil.copytree("data-0", "copied")),
    "a stray file beside a module of the user": lambda root, context: write(root / "notes.txt", ""),
    "the checkpoint elsewhere": lambda root, context: switch(
        root / "given.ckpt", shutil.move("given-0.ckpt", "moved.ckpt")
    ),
    **{
        f"the library {package}": lambda root, context, package=package: upgrade(context, package)
        for package in ("pandas", "pydicom", "nibabel", "transformers", "pytorch_lightning", "torchmetrics")
    },
    "another value of the environment": lambda root, context: context.setenv("OTHER", "1"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_whatever_a_run_depends_on_gives_its_rows_another_key(condition, monkeypatch, change):
    before = identified()
    step, told = CHANGES[change]
    step(condition, monkeypatch)
    after = identified()
    assert after.origin != before.origin
    assert differences(before, after)[0].startswith(told)


@pytest.mark.parametrize("change", IRRELEVANT)
def test_what_changes_no_number_leaves_the_key_as_it_is(condition, monkeypatch, change):
    before = identified()
    IRRELEVANT[change](condition, monkeypatch)
    after = identified()
    assert after.origin == before.origin
    assert differences(before, after) == []


def test_a_moved_folder_has_the_rows_of_the_same_key(condition, monkeypatch):
    before = identified()
    condition.rename(condition.with_name("moved"))
    monkeypatch.chdir(condition.with_name("moved"))
    monkeypatch.syspath_prepend(condition.with_name("moved"))
    forget_code()
    assert identified().origin == before.origin


def changed_leaves(node, name=""):
    """The dotted name of each leaf, with the same configuration in which it has another value."""
    for key, value in node.items():
        where = f"{name}.{key}".lstrip(".")
        if isinstance(value, dict) and value:
            yield from ((place, {**node, key: inner}) for place, inner in changed_leaves(value, where))
        else:
            yield where, {**node, key: ["changed", value]}


RICH = ("intervention=activation", "attack=pgd", "detector=[max_softmax,feature_squeezing]", "dataset=digits")
RICH += (
    "explainer=[grad_cam,effect_map]",
    "+attack@detection.attacks.fgsm=fgsm",
    "callbacks=[early_stopping,lr_monitor]",
)
RICH += ("logger=csv",)


def test_each_setting_counts_but_for_those_that_are_declared_irrelevant(monkeypatch):
    job = read(*RICH)
    content = settings.to_dict(job)

    def origin(plain) -> dict[str, object]:
        to_dict = settings.to_dict

        def changed(value, **record):
            return copy.deepcopy(plain) if value is job else to_dict(value, **record)

        monkeypatch.setattr(dependencies, "to_dict", changed)
        return Job(Path("run"), (), job, shared=shared).identified().origin

    shared = Shared()
    same = set()
    monkeypatch.setattr(code, "third_party_code", lambda *_: {})  # these take long, and are tested above
    monkeypatch.setattr("dovision.jobs.job.network_keys", lambda *_: {})
    before = origin(content)
    for name, changed in changed_leaves(content):
        if origin(changed) == before:
            same.add(name)
    watching = {
        f"callbacks.{name}." for name, callback in content["callbacks"].items() if callback["_target_"] in WATCHING
    }

    def is_irrelevant(name: str) -> bool:
        return any(f"{name}.".startswith(f"{prefix.rstrip('.')}.") for prefix in (*IRRELEVANT_TO_RESULTS, *watching))

    everything = {name for name, _ in changed_leaves(content)}
    assert len(everything) > 150
    # a monitor whose target is another one is none, and so counts
    assert same == {
        name
        for name in everything
        if is_irrelevant(name) and not (watching and name.endswith("_target_") and name.startswith("callbacks."))
    }


def test_the_key_of_an_autoencoder_follows_from_the_weights_of_its_classifier(tmp_path):
    job = Job(tmp_path, (), read(*RICH, f"output_root={tmp_path}")).identified()
    assert list(job.networks) == [CLASSIFIER, AUTOENCODER]
    jobs = [job, *(job.with_weights(CLASSIFIER, weights) for weights in ("a", "b"))]
    assert len({each.networks[AUTOENCODER].path for each in jobs}) == 3
    assert jobs[1] == job.with_weights(CLASSIFIER, "a")
