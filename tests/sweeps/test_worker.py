"""What a worker shares with the process that launches it."""

from __future__ import annotations

import os
import platform
import re

import pytest

from dovision.sweeps.task import Task
from dovision.sweeps.worker import stand_in


def test_row_29_relative_paths_are_meant_from_where_the_user_stands(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    task = Task(print)
    monkeypatch.chdir("/")
    stand_in(task.folder)
    assert os.getcwd() == str(tmp_path)


def test_row_17_a_machine_that_does_not_share_the_folder_says_so(tmp_path):
    gone = str(tmp_path / "home")
    told = f"must be there on each machine of the cluster, got {gone}, which {platform.node()} cannot open"
    with pytest.raises(ValueError, match=re.escape(told)):
        stand_in(gone)
