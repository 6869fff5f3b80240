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
def test_films_are_stored_and_found_by_the_same_command(dovision_prepare, nih_root, tmp_path):
    dovision_prepare()
    assert np.load(nih_root / "store-256" / "images.npy", mmap_mode="r").shape == (16, 256, 256)
    assert list((tmp_path / "here").iterdir()) == []
    before = (nih_root / "store-256" / "images.npy").stat().st_mtime_ns
    dovision_prepare()
    assert (nih_root / "store-256" / "images.npy").stat().st_mtime_ns == before


@pytest.mark.slow
def test_a_bad_film_ends_the_command_with_one_line_that_names_it(dovision_prepare, nih_root, capsys):
    bad = nih_root / "images_001" / "images" / "00000002_000.png"
    bad.write_bytes(bad.read_bytes()[:500])
    with pytest.raises(SystemExit, match="1"):
        dovision_prepare("dataset.store_size=224")
    assert f"dovision-prepare: each film must be a whole image, got 1 bad; all others are prepared:\n  {bad}" in (
        capsys.readouterr().err
    )


@pytest.mark.long  # the store by itself is killed in datasets/test_nih_store.py
def test_a_killed_command_goes_on_where_it_was(dovision_prepare, nih_root):
    """As it would be killed: no warning, in the middle."""
    slowly = (
        "import time; from dovision.datasets import _nih_store; from dovision.cli.prepare import main; "
        "read = _nih_store.read_film; _nih_store.FILMS_PER_CHUNK = 2; "
        "_nih_store.read_film = lambda path, shape: time.sleep(0.1) or read(path, shape); main()"
    )
    command = [sys.executable, "-c", slowly, f"dataset.root={nih_root}", HALF, "dataset.workers=1"]
    sources = nih_root / "store-256" / "sources.npy"

    def made() -> np.ndarray:
        return np.load(sources).any(axis=1) if sources.exists() else np.zeros(16, bool)

    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    while made().sum() < 4 and process.poll() is None:
        time.sleep(0.02)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    before = made()
    assert 4 <= before.sum() < 16
    images = np.load(nih_root / "store-256" / "images.npy")[before]
    dovision_prepare()
    assert made().all()
    assert np.array_equal(np.load(nih_root / "store-256" / "images.npy")[before], images)
    assert images.reshape(len(images), -1).any(axis=1).all()


def test_a_dataset_without_files_to_decode_is_refused_in_a_line(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    monkeypatch.setattr("sys.argv", ["dovision-prepare", "dataset=digits"])
    with pytest.raises(SystemExit, match="1"):
        main()
    assert "but Digits has nothing to prepare. Evaluate it as it is." in capsys.readouterr().err
