"""Search for films and reading of one; the store of decoded films: filled, killed, broken and mended."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dovision.datasets import _image_io, _nih_store
from dovision.datasets._nih_store import Store

SIZE = 32
GREY = np.random.default_rng(0).integers(0, 256, (32, 32), dtype=np.uint8)
RGBA = np.dstack([GREY, GREY, GREY, np.full_like(GREY, 9)])
RGB = np.dstack([GREY, GREY, GREY])
DEEP = GREY.astype(np.uint16) * 257  # the same greys at 16 bits


@pytest.fixture
def files(nih_root):
    return _nih_store.films_on_disk(nih_root).sort_values("name", ignore_index=True)


@pytest.fixture
def store(nih_root, files) -> Store:
    return Store(nih_root / "store-32", SIZE, files["name"])


@pytest.fixture
def decoded(monkeypatch) -> list[str]:
    """The names of the films decoded from here on."""
    names, read = [], _nih_store.read_film

    def counted(path, shape):
        names.append(path.name)
        return read(path, shape)

    monkeypatch.setattr(_nih_store, "read_film", counted)
    return names


def pixels(path: str) -> np.ndarray:
    return np.asarray(Image.open(path))


def test_a_filled_store_has_each_film_in_its_row(store, files):
    assert not store.state(files).made.any()
    store.fill(files, workers=2)
    assert store.state(files).complete
    backwards = files[::-1]
    for row, path in zip(store.rows(backwards["name"]), backwards["path"], strict=True):
        assert np.array_equal(store.images.array[row], pixels(path))


def test_films_are_made_smaller_as_they_are_when_read(nih_root, files):
    store = Store(nih_root / "store-20", 20, files["name"])
    store.fill(files, workers=1)
    direct = _nih_store.read_film(Path(files["path"][0]), (1, 20, 20))[0].numpy()
    assert np.abs(store.images.array[0] / 255 - direct).max() <= 0.5 / 255 + 1e-6


def test_a_full_store_decodes_nothing_and_new_films_are_added(store, files, decoded):
    store.fill(files[:10], workers=2)
    assert store.state(files[:10]).complete
    assert not store.state(files).complete
    decoded.clear()
    store.fill(files, workers=2)
    assert sorted(decoded) == files["name"].tolist()[10:]
    store.fill(files, workers=2)
    assert len(decoded) == 6


def test_a_truncated_film_is_named_when_all_others_are_done_and_mended_by_a_second_run(store, files, decoded):
    bad = Path(files["path"][5])
    whole = bad.read_bytes()
    bad.write_bytes(whole[:400])
    broken = _nih_store.films_on_disk(store.folder.parent).sort_values("name", ignore_index=True)
    with pytest.raises(ValueError, match=rf"got 1 bad; all others are prepared:\n  {bad} must be .*Truncated"):
        store.fill(broken, workers=2)
    assert store.state(broken).made.tolist() == [place != 5 for place in range(16)]
    assert not store.images.array[5].any()  # nothing half-written
    bad.write_bytes(whole)
    mended = _nih_store.films_on_disk(store.folder.parent).sort_values("name", ignore_index=True)
    decoded.clear()
    store.fill(mended, workers=2)
    assert store.state(mended).complete
    assert decoded == [bad.name]


def test_a_changed_film_is_noticed_and_decoded_again(store, files, decoded):
    store.fill(files, workers=2)
    Image.fromarray(255 - pixels(files["path"][3])).save(files["path"][3])
    changed = _nih_store.films_on_disk(store.folder.parent).sort_values("name", ignore_index=True)
    assert store.state(changed).changed.tolist() == [place == 3 for place in range(16)]
    decoded.clear()
    store.fill(changed, workers=2)
    assert decoded == [files["name"][3]]
    assert np.array_equal(store.images.array[3], pixels(files["path"][3]))


def test_no_more_than_a_chunk_of_films_is_held(store, files, monkeypatch):
    monkeypatch.setattr(_nih_store, "FILMS_PER_CHUNK", 3)
    held, write = [], Store._write

    def counted(self, rows, films):
        held.append(len(films))
        write(self, rows, films)

    monkeypatch.setattr(Store, "_write", counted)
    store.fill(files, workers=2)
    assert held == [3, 3, 3, 3, 3, 1]


def test_a_killed_fill_has_lost_only_what_is_not_marked_and_goes_on(store, files, decoded, monkeypatch):
    monkeypatch.setattr(_nih_store, "FILMS_PER_CHUNK", 2)
    read = _nih_store.read_film
    with monkeypatch.context() as slowly:
        slowly.setattr(_nih_store, "read_film", lambda path, shape: time.sleep(0.05) or read(path, shape))
        process = multiprocessing.get_context("fork").Process(target=store.fill, args=(files, 1))
        process.start()
        while store.state(files).made.sum() < 4:
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
        process.join()
    made = store.state(files).made
    assert 4 <= made.sum() < 16
    for row in np.flatnonzero(made):
        assert np.array_equal(store.images.array[row], pixels(files["path"][row]))
    store.fill(files, workers=1)
    assert sorted(decoded) == files["name"][~made].tolist()
    assert store.state(files).complete


def test_a_store_killed_while_it_was_made_is_made_anew(store, files):
    store.folder.mkdir()
    (store.folder / _nih_store.IMAGES_FILE).write_bytes(b"\x93NUMPY half")
    assert not store.state(files).made.any()
    store.fill(files, workers=1)
    assert store.state(files).complete


def test_a_store_of_a_version_that_kept_no_hashes_is_made_anew(store, files, decoded):
    store.fill(files, workers=1)
    (store.folder / _nih_store.HASHES).unlink()
    assert not store.state(files).made.any()
    decoded.clear()
    store.fill(files, workers=1)
    assert len(decoded) == 16
    assert store.state(files).complete


def test_a_film_that_the_store_was_not_made_for_is_refused(store, files):
    Store(store.folder, SIZE, files["name"][:8]).fill(files[:8], workers=1)
    assert store.state(files).made.sum() == 8
    with pytest.raises(ValueError, match=r"made from another table, without 00000005_000.png. Remove the folder"):
        store.fill(files, workers=1)


def test_a_folder_that_cannot_be_made_is_told_with_the_remedy(nih_root, files):
    (nih_root / "file").write_text("")
    with pytest.raises(PermissionError, match=r"store-32 must be a folder that can be written to.*set dataset.root"):
        Store(nih_root / "file" / "store-32", SIZE, files["name"]).fill(files, workers=1)


def test_numbered_folders_and_one_flat_folder_hold_the_same_films(nih_root):
    numbered = _nih_store.films_on_disk(nih_root).sort_values("name")
    (nih_root / "images").mkdir()
    for path in nih_root.glob("images_*/images/*.png"):
        shutil.move(path, nih_root / "images")
    (nih_root / "images" / "._00000001_000.png").write_text("")
    flat = _nih_store.films_on_disk(nih_root).sort_values("name")
    assert flat["name"].tolist() == numbered["name"].tolist()
    assert flat["bytes"].tolist() == numbered["bytes"].tolist()


def test_a_film_in_two_folders_is_refused(nih_root):
    (nih_root / "images").mkdir()
    shutil.copy(nih_root / "images_001" / "images" / "00000001_000.png", nih_root / "images")
    with pytest.raises(ValueError, match=r"must lie in one folder, but one lies at .*images_001.* and .*images/"):
        _nih_store.films_on_disk(nih_root)


def test_a_root_without_films_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"must hold the films in images_001/images.*set dataset.root"):
        _nih_store.films_on_disk(tmp_path)


@pytest.mark.parametrize("pixels", [GREY, RGB, RGBA, DEEP], ids=["grey", "RGB", "RGBA", "16 bit"])
def test_every_mode_gives_the_same_grey_repeated_for_three_channels(tmp_path, pixels):
    Image.fromarray(pixels).save(tmp_path / "a.png")
    film = _nih_store.read_film(tmp_path / "a.png", (3, 32, 32))
    torch.testing.assert_close(film, (torch.from_numpy(GREY) / 255).expand(3, 32, 32))


def test_a_film_is_fitted_as_any_picture(tmp_path):
    Image.fromarray(GREY).save(tmp_path / "a.png")
    assert torch.equal(
        _nih_store.read_film(tmp_path / "a.png", (1, 24, 20)),
        _image_io.image_from_file(tmp_path / "a.png", (1, 24, 20)),
    )


def test_a_film_that_is_no_square_is_refused(tmp_path):
    Image.fromarray(GREY[:20]).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"a.png must be a square, .* got 20 x 32 pixels"):
        _nih_store.read_film(tmp_path / "a.png", (1, 32, 32))
