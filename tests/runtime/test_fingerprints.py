"""Hashes that are found again as long as nothing has changed on disk, and only then."""

from __future__ import annotations

import json
import os
import time
from concurrent.futures import ProcessPoolExecutor

import pytest

from dovision.io.files import sha256
from dovision.runtime import fingerprints
from dovision.runtime.fingerprints import CACHE_FILE, SETTLED, Fingerprints, stat_files


@pytest.fixture(autouse=True)
def settled(monkeypatch):
    """Let a file count as settled at once."""
    monkeypatch.setattr(fingerprints, "SETTLED", -60.0)


@pytest.fixture
def computed(monkeypatch):
    """The files of which the bytes were read."""
    read = []
    monkeypatch.setattr(fingerprints.files, "sha256", lambda path: read.append(path.name) or sha256(path))
    return read


def hashed(root, path):
    """By a process of its own, as it were."""
    with Fingerprints(root) as prints:
        return prints.file(path)


def rewritten(path):
    path.write_bytes(b"two")


def exchanged_for_one_of_the_same_size_and_time(path):
    times = path.stat()
    other = path.with_name("other")
    other.write_bytes(b"two")
    os.utime(other, ns=(times.st_atime_ns, times.st_mtime_ns))
    os.replace(other, path)


def changed_in_place_with_its_time_put_back(path):
    times = path.stat()
    path.write_bytes(b"two")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def lengthened(path):
    path.write_bytes(b"one two")


CHANGES = [rewritten, exchanged_for_one_of_the_same_size_and_time, changed_in_place_with_its_time_put_back, lengthened]


def test_a_file_is_read_once(tmp_path, computed):
    path = tmp_path / "file"
    path.write_bytes(b"one")
    assert {hashed(tmp_path, path) for _ in range(3)} == {sha256(path)}
    assert computed == ["file"]


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_file_is_read_again(tmp_path, change):
    path = tmp_path / "file"
    path.write_bytes(b"one")
    before = hashed(tmp_path, path)
    change(path)
    assert hashed(tmp_path, path) == sha256(path) != before


def test_what_changed_just_now_is_not_remembered(tmp_path, monkeypatch, computed):
    monkeypatch.setattr(fingerprints, "SETTLED", SETTLED)
    path = tmp_path / "file"
    path.write_bytes(b"one")
    hashed(tmp_path, path)
    assert not (tmp_path / CACHE_FILE).exists()
    os.utime(path, ns=(0, time.time_ns() - 10**10))  # the time of its entry is that of this very moment
    hashed(tmp_path, path)
    assert computed == ["file", "file"]


def flipped(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def with_another_value(path):
    content = json.loads(path.read_text())
    (entry,) = content["entries"].values()
    entry[2] = "0" * 64
    path.write_text(json.dumps(content))


DAMAGE = [flipped, with_another_value]
DAMAGE += [lambda path, text=text: path.write_text(text) for text in ("", "{", "null", "[]", '{"entries": {}}')]


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_of_hashes_is_not_believed(tmp_path, computed, damage):
    path = tmp_path / "file"
    path.write_bytes(b"one")
    hashed(tmp_path, path)
    damage(tmp_path / CACHE_FILE)
    assert hashed(tmp_path, path) == sha256(path)
    assert computed == ["file", "file"]
    assert hashed(tmp_path, path) == sha256(path)
    assert computed == ["file", "file"]


def test_a_folder_that_cannot_be_written_costs_time_only(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"one")
    (tmp_path / CACHE_FILE).mkdir()
    assert hashed(tmp_path, path) == hashed(tmp_path / "nowhere", path) == sha256(path)
    assert not (tmp_path / "nowhere").exists()


def at_once(arguments):
    root, path = arguments
    fingerprints.SETTLED = -60.0
    return hashed(root, path)


@pytest.mark.slow
def test_processes_that_write_at_once_leave_a_file_that_is_whole(tmp_path):
    paths = [tmp_path / f"{number}" for number in range(40)]
    for path in paths:
        path.write_bytes(path.name.encode())
    with ProcessPoolExecutor(4) as pool:
        found = list(pool.map(at_once, [(tmp_path, path) for path in paths]))
    assert found == [sha256(path) for path in paths]
    entries = json.loads((tmp_path / CACHE_FILE).read_text())["entries"]
    assert {name: entry[2] for name, entry in entries.items()}.items() <= {
        f"file {path}": sha256(path) for path in paths
    }.items()
    assert not list(tmp_path.glob(f"{CACHE_FILE}.*"))


class Data:
    """A dataset that counts how often it is made."""

    def __init__(self, files):
        self.files = files
        self.made = 0

    def __call__(self):
        self.made += 1
        return self

    def identified(self, hashes):
        return stat_files(self.files or ()).state

    @property
    def fingerprint(self):
        return self.identified(None)


def tree(folder):
    for name in ("a/1.png", "a/2.png", "b/1.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"one")
    return folder


def fingerprint(root, data):
    with Fingerprints(root) as prints:
        return prints.data("key", data)


@pytest.mark.parametrize(
    "change",
    [
        *(lambda folder, change=change: change(folder / "a" / "1.png") for change in CHANGES),
        lambda folder: (folder / "b" / "1.png").unlink(),
        lambda folder: (folder / "b" / "2.png").write_bytes(b"one"),
        lambda folder: (folder / "b" / "1.png").rename(folder / "b" / "3.png"),
        lambda folder: (folder / "c").mkdir(),
    ],
)
def test_data_are_made_again_if_anything_below_their_folder_has_changed(tmp_path, change):
    data = Data((tree(tmp_path / "data"),))
    assert fingerprint(tmp_path, data) == fingerprint(tmp_path, data)
    assert data.made == 1
    change(tmp_path / "data")
    fingerprint(tmp_path, data)
    assert data.made == 2


def test_what_is_behind_a_link_counts_too(tmp_path):
    tree(tmp_path / "elsewhere")
    (tmp_path / "data").mkdir()
    os.symlink(tmp_path / "elsewhere" / "a", tmp_path / "data" / "a")
    os.symlink(tmp_path / "data", tmp_path / "data" / "circle")
    os.symlink(tmp_path / "nowhere", tmp_path / "data" / "broken")
    before = stat_files([tmp_path / "data"])
    assert stat_files([tmp_path / "data"]) == before
    rewritten(tmp_path / "elsewhere" / "a" / "2.png")
    assert stat_files([tmp_path / "data"]).state != before.state


def test_data_that_do_not_name_their_files_are_made_once_a_command(tmp_path):
    data = Data(None)
    with Fingerprints(tmp_path) as prints:
        assert prints.data("key", data) == prints.data("key", data)
    assert data.made == 1
    fingerprint(tmp_path, data)
    assert data.made == 2


def test_data_without_files_are_made_once(tmp_path):
    data = Data(())
    assert fingerprint(tmp_path, data) == fingerprint(tmp_path, data)
    assert data.made == 1
