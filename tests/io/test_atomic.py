"""Every file with its final name is on the disk, whichever module wrote it."""

import os
import stat
from collections import defaultdict
from pathlib import Path

import pytest

from dovision.io.atomic import PARTIAL, publish, remove_partial, replacing

LOGS = {
    "run.log",
    "hparams.yaml",
    "multirun.yaml",
    ".run.lock",
    "lock",
}  # which come as they come, and are nothing to rely on


@pytest.fixture
def safe(monkeypatch):
    """The files that were synchronised before they were renamed, and their folder after that."""
    synchronised, waiting, found, fsync, replace = set(), defaultdict(set), set(), os.fsync, os.replace

    def key(path):
        about = os.stat(path)
        return about.st_dev, about.st_ino, about.st_mtime_ns, about.st_size

    def recording_fsync(descriptor):
        fsync(descriptor)
        synchronised.add(key(descriptor))
        found.update(waiting.pop(os.stat(descriptor).st_ino, ()))

    def recording_replace(source, target):
        files = [path for path in (Path(source), *Path(source).rglob("*")) if path.is_file()]
        whole = all(key(path) in synchronised for path in files)
        replace(source, target)
        if whole:
            waiting[os.stat(Path(target).parent).st_ino].update((Path(target), *Path(target).rglob("*")))

    monkeypatch.setattr(os, "fsync", recording_fsync)
    monkeypatch.setattr(os, "replace", recording_replace)
    return found


def test_files_are_on_the_disk_before_they_have_their_names_and_their_folder_after_it(tmp_path, safe):
    with replacing(tmp_path / "table") as partial:
        partial.write_text("rows")
    assert safe == {tmp_path / "table"}
    (tmp_path / "aside" / "deep").mkdir(parents=True)
    for name in ("aside/a", "aside/deep/b"):
        (tmp_path / name).write_text(name)
    publish(tmp_path / "aside", tmp_path / "final")
    assert safe >= {tmp_path / "final" / "a", tmp_path / "final" / "deep" / "b"}
    assert (tmp_path / "final" / "deep" / "b").read_text() == "aside/deep/b"


def test_a_file_system_that_does_not_synchronise_folders_is_good_enough(tmp_path, monkeypatch):
    synchronise = os.fsync

    def refuse(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(22, "Invalid argument")
        synchronise(descriptor)

    monkeypatch.setattr(os, "fsync", refuse)
    with replacing(tmp_path / "table") as partial:
        partial.write_text("rows")
    assert (tmp_path / "table").read_text() == "rows"


def test_two_may_write_the_same_file_at_once_and_what_a_kill_leaves_can_be_removed(tmp_path):
    with replacing(tmp_path / "summary") as first, replacing(tmp_path / "summary") as second:
        first.write_text("first")
        second.write_text("second")
    assert (tmp_path / "summary").read_text() == "first"  # the block that ends last
    assert list(tmp_path.iterdir()) == [tmp_path / "summary"]
    (tmp_path / f"table{PARTIAL}0").touch()
    remove_partial(tmp_path)
    assert list(tmp_path.iterdir()) == [tmp_path / "summary"]


def test_each_file_that_a_run_leaves_was_on_the_disk_before_it_had_its_name(copy, dovision_evaluate, safe):
    classifier = {path for path in copy.rglob("*") if path.is_file()}
    everything = ("attack=fgsm", "attack.eps=0.1", "explainer=[random_map]", "-m")
    detection = ("detector=[max_softmax]", "+attack@detection.attacks.fgsm=fgsm", "detection.attacks.fgsm.eps=0.1")
    few = ("detection.val_images=40", "detection.test_images=12")
    assert dovision_evaluate(f"output_root={copy}", *detection, *few, *everything) == 0
    written = {path for path in copy.rglob("*") if path.is_file() and path.name not in LOGS} - classifier
    names = {path.name for path in written}
    assert names >= {"run.json", "summary.json", "samples.parquet", "maps.parquet", "scores.parquet"}
    assert names >= {"metrics.csv", "config.yaml", "sweep_summary.csv"}
    assert written - safe == set()
