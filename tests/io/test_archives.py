"""Members of ZIP archives are read as files are, in every process, and told by their archive."""

from __future__ import annotations

import os
import zipfile
from multiprocessing import get_context
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dovision.io import archives

MOST = 1 << 20


def packed(path: Path, members: dict[str, bytes], kind: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", kind) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


@pytest.fixture
def films(tmp_path):
    return packed(tmp_path / "films.ZIP", {f"patient/{number}.png": bytes([number]) * 5000 for number in range(50)})


def test_a_path_through_an_archive_names_a_member(films, tmp_path):
    assert archives.archive_member(films / "patient" / "1.png") == (films, "patient/1.png")
    assert archives.file_on_disk(films / "patient" / "1.png") == films
    assert archives.read_path(films / "patient" / "7.png", MOST) == bytes([7]) * 5000


def test_other_paths_are_those_of_files(films, tmp_path):
    folder = tmp_path / "folder.zip"
    folder.mkdir()
    (folder / "1.png").write_bytes(b"plain")
    assert archives.archive_member(folder / "1.png") is None
    assert archives.archive_member(films) is None
    assert archives.read_path(folder / "1.png", MOST) == b"plain"
    with pytest.raises(FileNotFoundError):
        archives.read_path(tmp_path / "none.zip" / "1.png", MOST)


@given(st.dictionaries(st.from_regex(r"[a-z]{1,5}(/[a-z]{1,5})?\.png", fullmatch=True), st.binary(), min_size=1))
def test_every_member_is_what_was_packed(tmp_path_factory, members):
    path = packed(tmp_path_factory.mktemp("random") / "a.zip", members)
    assert {name: archives.read_path(path / name, MOST) for name in members} == members


def test_an_archive_that_takes_the_place_of_another_is_read_anew(films):
    assert archives.read_path(films / "patient" / "1.png", MOST) == bytes([1]) * 5000
    packed(films.with_name("new"), {"patient/1.png": b"another"})
    os.replace(films.with_name("new"), films)
    assert archives.read_path(films / "patient" / "1.png", MOST) == b"another"


def numbers_read(films: Path) -> list[int]:
    return [archives.read_path(films / "patient" / f"{number}.png", MOST)[-1] for number in range(50)] * 20


@pytest.mark.slow
def test_forked_processes_do_not_move_each_others_place(films):
    """As those that load batches are; a file that is open in both has one position."""
    assert numbers_read(films)[:50] == list(range(50))
    with get_context("fork").Pool(3) as pool:
        assert all(found[:50] == list(range(50)) for found in pool.map(numbers_read, [films] * 6))


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_damage_is_named_by_any_method_of_compression(tmp_path, method):
    path = tmp_path / "films.zip"
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("0.png", bytes(range(256)) * 20)
    whole = bytearray(path.read_bytes())
    whole[60:80] = bytes(20)
    path.write_bytes(whole)
    with pytest.raises(ValueError, match="0.png must be a whole member of an archive"):
        archives.read_path(path / "0.png", MOST)


def test_a_member_that_is_too_large_or_not_there_is_named(films):
    with pytest.raises(ValueError, match=r"0.png must have at most 4,999 bytes, got 5,000"):
        archives.read_path(films / "patient" / "0.png", 4999)
    with pytest.raises(FileNotFoundError, match=r"films.ZIP must have a member patient/51.png, but has none"):
        archives.read_path(films / "patient" / "51.png", MOST)
    with pytest.raises(FileNotFoundError):
        archives.read_path(films / "patient", MOST)
