"""Only regular files are opened, and none that is larger than what is asked for may be."""

from __future__ import annotations

import gzip
import os
import socket

import pytest

from dovision.io import files


def test_a_device_a_folder_a_socket_and_a_link_to_a_device_are_refused(tmp_path, monkeypatch):
    (tmp_path / "link").symlink_to("/dev/zero")
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind("socket")
        os.mkfifo("pipe")
        kinds = {
            "/dev/zero": "a device",
            tmp_path: "a folder",
            "link": "a device",
            "socket": "a socket",
            "pipe": "a pipe",
        }
        for path, kind in kinds.items():
            with pytest.raises(ValueError, match=f"must be a regular file, got {kind}"):
                files.read_bytes(path, 10)


def test_a_file_is_read_up_to_its_budget(tmp_path):
    (tmp_path / "a").write_bytes(b"0123456789")
    assert files.read_bytes(tmp_path / "a", 10) == b"0123456789"
    with pytest.raises(ValueError, match=r"a must have at most 9 bytes, got 10\. Make it smaller"):
        files.read_bytes(tmp_path / "a", 9)


def test_a_hole_of_a_hundred_gigabytes_costs_nothing(tmp_path):
    with (tmp_path / "hole").open("wb") as file:
        file.truncate(100 << 30)
    with pytest.raises(ValueError, match="must have at most"):
        files.read_text(tmp_path / "hole")


def test_what_unzips_to_more_than_its_budget_is_not_unzipped(tmp_path):
    (tmp_path / "a.gz").write_bytes(gzip.compress(bytes(10_000_000)))
    assert len(files.unzipped(tmp_path / "a.gz", 10_000_000)) == 10_000_000
    with pytest.raises(ValueError, match="a.gz must have at most 9,999,999 bytes, got more when unzipped"):
        files.unzipped(tmp_path / "a.gz", 9_999_999)


def test_a_text_is_read_without_its_byte_order_mark_and_in_utf_8_alone(tmp_path):
    path = tmp_path / "classes.txt"
    path.write_text("Käfer\n", "utf-8-sig")
    assert files.read_text(path) == "Käfer\n"
    path.write_text("Käfer\n", "latin-1")
    with pytest.raises(ValueError, match=r"classes.txt must be a text in UTF-8: .* position 1: .* Save it as UTF-8."):
        files.read_text(path)
