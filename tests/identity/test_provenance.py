"""Where a run comes from, held against what git, torch and the system say."""

import platform
import resource
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from dovision.identity.provenance import git_commit, peak_memory, processor_name, provenance


@pytest.mark.parametrize(
    ("lines", "name"),
    [
        (
            "processor\t: 0\nmodel name\t: Model 7 @ 3.00GHz\n\nprocessor\t: 1\nmodel name\t: Model 8\n",
            "Model 7 @ 3.00GHz",
        ),
        ("processor\t: 0\nCPU implementer\t: 0x41\nCPU part\t: 0xd0c\n", "0x41 0xd0c"),
        ("processor\t: 0\n", platform.processor() or platform.machine()),
        (None, platform.processor() or platform.machine()),
    ],
)
def test_a_processor_has_the_name_of_its_model(tmp_path, lines, name):
    if lines is not None:
        (tmp_path / "cpuinfo").write_text(lines)
    assert processor_name(tmp_path / "cpuinfo") == name


def test_the_commit_is_the_checkouts_and_versions_are_those_that_run():
    found = git_commit()
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=Path(__file__).parent, capture_output=True, text=True)
    assert found is None or found.removesuffix("+") == head.stdout.strip()
    facts = provenance()
    assert facts["versions"]["torch"] == torch.__version__
    assert facts["threads"] == torch.get_num_threads()
    assert 0 < peak_memory() <= resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="needs Linux")
def test_the_peak_of_a_large_parent_is_not_that_of_its_child(monkeypatch):
    before = peak_memory()
    monkeypatch.setattr(resource, "getrusage", lambda _: SimpleNamespace(ru_maxrss=1 << 40))  # inherited through exec
    assert before <= peak_memory() < 1 << 20
