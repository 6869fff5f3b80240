"""Hashes that are found again as long as nothing has changed on disk, and only then."""

import os
import time

import pytest

from dovision.identity import digests
from dovision.identity.digests import CACHE_FILE, SETTLED, Digests, stat_files
from dovision.io.files import sha256
from made_datasets import exchange
from waiting import wait_for


@pytest.fixture(autouse=True)
def settled(monkeypatch):
    """Let a file count as settled at once."""
    monkeypatch.setattr(digests, "SETTLED", -60.0)


@pytest.fixture
def computed(monkeypatch):
    """The files of which the bytes were read."""
    read = []
    monkeypatch.setattr(digests.files, "sha256", lambda path: read.append(path.name) or sha256(path))
    return read


def hashed(root, path):
    """By a process of its own, as it were."""
    kept = Digests(root)
    digest = kept(path)
    kept.save()
    return digest


def wait_for_another_time(folder):
    """Until a change bears another time than those before: many systems count the times of files in steps of 10 ms."""
    (mark := folder / "mark").touch()
    before = mark.stat().st_ctime_ns
    wait_for(lambda: mark.touch() or mark.stat().st_ctime_ns != before)


def rewritten(path):
    path.write_bytes(b"two")


def exchanged_for_one_of_the_same_size_and_time(path):
    exchange(path, b"two")


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
    wait_for_another_time(tmp_path)
    change(path)
    assert hashed(tmp_path, path) == sha256(path) != before


def test_what_changed_just_now_is_not_remembered(tmp_path, monkeypatch, computed):
    monkeypatch.setattr(digests, "SETTLED", SETTLED)
    path = tmp_path / "file"
    path.write_bytes(b"one")
    hashed(tmp_path, path)
    assert not (tmp_path / CACHE_FILE).exists()
    os.utime(path, ns=(0, time.time_ns() - 10**10))  # the time of its entry is that of this very moment
    hashed(tmp_path, path)
    assert computed == ["file", "file"]


@pytest.mark.parametrize("text", ["", "\n", "{", "null", "[]", "{}\n{}", "[" * 10**5, '{"FILE": 1}'])
def test_a_damaged_file_of_hashes_is_not_believed(tmp_path, computed, text):
    path = tmp_path / "file"
    path.write_bytes(b"one")
    hashed(tmp_path, path)
    (tmp_path / CACHE_FILE).write_text(text.replace("FILE", str(path)))
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


def tree(folder):
    for name in ("a/1.png", "a/2.png", "b/1.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"one")
    return folder


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
def test_the_state_of_a_folder_is_that_of_all_below_it(tmp_path, change):
    before = stat_files([tree(tmp_path / "data")])
    assert stat_files([tmp_path / "data"]) == before
    wait_for_another_time(tmp_path)
    change(tmp_path / "data")
    assert stat_files([tmp_path / "data"]).digest != before.digest


def test_what_is_behind_a_link_counts_too(tmp_path):
    tree(tmp_path / "elsewhere")
    (tmp_path / "data").mkdir()
    os.symlink(tmp_path / "elsewhere" / "a", tmp_path / "data" / "a")
    os.symlink(tmp_path / "data", tmp_path / "data" / "circle")
    os.symlink(tmp_path / "nowhere", tmp_path / "data" / "broken")
    before = stat_files([tmp_path / "data"])
    assert stat_files([tmp_path / "data"]) == before
    wait_for_another_time(tmp_path)
    rewritten(tmp_path / "elsewhere" / "a" / "2.png")
    assert stat_files([tmp_path / "data"]).digest != before.digest


@pytest.mark.parametrize("target", ["file", "folder"])
def test_a_link_that_is_switched_leads_to_another_digest(tmp_path, target):
    link = tmp_path / "link"
    for name, content in (("a", b"one"), ("b", b"two")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_bytes(content)
        os.utime(tmp_path / name / "file", (1, 1))
        link.unlink(missing_ok=True)
        link.symlink_to(tmp_path / name / ("file" if target == "file" else ""))
        path = link if target == "file" else link / "file"
        assert hashed(tmp_path, path) == sha256(tmp_path / name / "file")
        assert hashed(tmp_path, path) == sha256(tmp_path / name / "file")


def test_of_many_files_those_are_read_that_are_not_kept(tmp_path, computed):
    paths = [tmp_path / str(number) for number in range(5)]
    for path in paths:
        path.write_bytes(path.name.encode())
    hashed(tmp_path, paths[3])
    assert Digests(tmp_path).many([*paths, paths[0]]) == [sha256(path) for path in [*paths, paths[0]]]
    assert sorted(computed) == ["0", "1", "2", "3", "4"]
    assert Digests(tmp_path).many([]) == []
