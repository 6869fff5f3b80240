"""A few jobs in one process, and a folder of some thousand images, as checks/long_work.py measures many."""

from __future__ import annotations

import sys

import pytest

from programs import program

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def long_work():
    return program("checks/long_work.py")


def test_files_and_objects_of_a_process_stay_as_they_are_from_job_to_job(long_work, tmp_path):
    looks = long_work.look_at_jobs(tmp_path, 8)
    assert len(looks) == 8
    assert len({look.files for look in looks[2:]}) == 1
    assert long_work.growth(looks)["objects"] <= long_work.GROWTH["objects"]


def test_an_index_of_two_thousand_images_says_what_it_does(long_work, tmp_path, capfd):
    held = bytearray(b"x") * (1 << 30)  # of this process, which is not its child's
    long_work.write_images(tmp_path, 2000)
    stage = long_work.watched([sys.executable, "-c", long_work.READ, str(tmp_path)])
    assert (stage.code, 100 < stage.MB < 1000, len(held)) == (0, True, 1 << 30)
    printed = capfd.readouterr().out
    assert "2,000 images" in printed
    assert "identity: " in printed
