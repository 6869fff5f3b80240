"""Memory that is available, read from the files of Linux."""

from __future__ import annotations

import pytest

from dovision.runtime.free_memory import available_memory

MEMINFO = "MemTotal:  8000 kB\nMemFree:  100 kB\nMemAvailable:  5000 kB\n"


def written(folder, files):
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def group(folder, limit, used, cache, version):
    names = {1: ("limit_in_bytes", "usage_in_bytes", "total_inactive_file"), 2: ("max", "current", "inactive_file")}
    most, current, inactive = names[version]
    stat = f"anon 1\n{inactive} {cache}\n"
    return {f"{folder}/memory.{most}": limit, f"{folder}/memory.{current}": used, f"{folder}/memory.stat": stat}


def test_the_page_cache_counts_as_available(tmp_path):
    assert available_memory(written(tmp_path, {"proc/meminfo": MEMINFO})) == 5000 * 1024


@pytest.mark.parametrize(
    ("version", "line", "groups"),
    [(2, "0::/user/job\n", "sys/fs/cgroup"), (1, "7:cpu:/a\n4:memory:/user/job\n", "sys/fs/cgroup/memory")],
)
def test_the_tightest_limit_of_the_control_groups_holds(version, line, groups, tmp_path):
    files = {"proc/meminfo": MEMINFO, "proc/self/cgroup": line}
    files |= group(f"{groups}/user/job", "max\n", "900\n", 0, version)
    files |= group(f"{groups}/user", "3000\n", "2500\n", 400, version)
    assert available_memory(written(tmp_path, files)) == 3000 - 2500 + 400


def test_a_limit_above_the_machine_changes_nothing(tmp_path):
    files = {"proc/meminfo": MEMINFO, "proc/self/cgroup": "0::/\n"}
    files |= group("sys/fs/cgroup", f"{2**60}\n", "0\n", 0, 2)
    assert available_memory(written(tmp_path, files)) == 5000 * 1024


def test_a_system_that_does_not_say_gives_none(tmp_path):
    assert available_memory(tmp_path) is None
