"""The command that decodes films once, so that they are read faster."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from dovision.cli.prepare import main

HALF = "dataset.val_fraction=0.5"  # of six patients


@pytest.fixture
def dovision_prepare(nih_root, monkeypatch, tmp_path):
    """The command on the small release, from an empty folder."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")

    def run(*overrides: str) -> None:
        monkeypatch.setattr("sys.argv", ["dovision-prepare", f"dataset.root={nih_root}", HALF, *overrides])
        main()

    return run


@pytest.mark.slow
def test_films_are_stored_and_found_by_the_same_command(dovision_prepare, nih_root, tmp_path, capsys):
    dovision_prepare()
    assert "prepared: images in store 16" in capsys.readouterr().err
    (shard,) = (nih_root / "store-256").glob("*.npy")
    assert np.load(shard, mmap_mode="r").shape == (16, 1, 256, 256)
    assert list((tmp_path / "here").iterdir()) == []
    before = shard.stat().st_mtime_ns
    dovision_prepare()
    assert shard.stat().st_mtime_ns == before


@pytest.mark.slow
def test_a_bad_film_ends_the_command_with_one_line_that_names_it(dovision_prepare, nih_root, capsys):
    bad = nih_root / "images_001" / "images" / "00000002_000.png"
    bad.write_bytes(bad.read_bytes()[:500])
    with pytest.raises(SystemExit, match="1"):
        dovision_prepare("dataset.store_size=224")
    assert f"dovision-prepare: each image must be whole, got 1 bad; shards without one are made:\n  {bad}" in (
        capsys.readouterr().err
    )


@pytest.mark.long  # the store by itself is killed in datasets/readers/test_decoded_store.py
def test_a_killed_command_goes_on_where_it_was(dovision_prepare, nih_root):
    """As it would be killed: no warning, in the middle."""
    slowly = (  # as slowly as that after two shards
        "import pathlib, time; from dovision.datasets import chest_xray14; from dovision.cli.prepare import main; "
        "from dovision.datasets.readers import decoded_store; decoded_store.SHARD_IMAGES = 2; "
        f"read, store = chest_xray14.read_film, pathlib.Path({str(nih_root / 'store-256')!r}); "
        "chest_xray14.read_film = lambda path, shape: "
        "time.sleep(600 * (len(list(store.glob('*.npy'))) > 1)) or read(path, shape); main()"
    )
    command = [sys.executable, "-c", slowly, f"dataset.root={nih_root}", HALF, "dataset.workers=1"]

    def made() -> dict[str, int]:
        return {path.name: path.stat().st_mtime_ns for path in (nih_root / "store-256").glob("*.npy")}

    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    while len(made()) < 2 and process.poll() is None:
        time.sleep(0.02)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    before = made()
    assert len(before) == 2
    subprocess.run([sys.executable, "-c", slowly.replace("600", "0"), *command[3:]], check=True, capture_output=True)
    assert len(made()) == 8
    assert before.items() <= made().items()


def test_a_dataset_without_files_to_decode_is_refused_in_a_line(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    monkeypatch.setattr("sys.argv", ["dovision-prepare", "dataset=digits"])
    with pytest.raises(SystemExit, match="1"):
        main()
    assert "but Digits has nothing to prepare. Evaluate it as it is." in capsys.readouterr().err
