"""Memory that is freed stays in the process, where the environment has not chosen otherwise."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

from dovision.io.allocator import OWN_CHOICE

PAGES = 64 >> 1  # of 64 MiB, if they are huge, as they are where the system makes them so
PROGRAM = """
import resource, sys
from dovision.io.allocator import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    block = b"1" * (64 << 20)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

kept = keep_freed_memory()
first, second = faults(), faults()
print(kept, second)
"""


def outcome(**chosen: str) -> list[str]:
    environment = {name: value for name, value in os.environ.items() if name not in OWN_CHOICE}
    program = [sys.executable, "-c", PROGRAM]
    return subprocess.run(program, env=environment | chosen, capture_output=True, text=True, check=True).stdout.split()


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's allocator")
def test_a_block_of_the_size_of_one_that_was_freed_faults_no_page():
    kept, faults = outcome()
    assert kept == "True"
    assert int(faults) < PAGES


@pytest.mark.parametrize("name", OWN_CHOICE)
def test_what_the_environment_has_chosen_stays(name):
    value = "glibc.malloc.mmap_max=65536" if name == "GLIBC_TUNABLES" else "65536"
    kept, faults = outcome(**{name: value})
    assert kept == "False"
    assert int(faults) >= PAGES
