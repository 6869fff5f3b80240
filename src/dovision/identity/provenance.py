"""Provenance of a run: versions, commit, machine and device, and the memory that it took."""

from __future__ import annotations

import functools
import platform
import re
import resource
import subprocess
import sys
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from dovision.io import files

_PACKAGES = ("dovision", "torch", "torchvision", "pytorch-lightning", "hydra-core", "numpy", "pandas", "pyarrow")
version = functools.cache(metadata.version)
_SYSTEM_TABLE = 1 << 22  # bytes


def provenance() -> dict[str, Any]:
    """Versions, commit, machine and device of this process."""
    return {
        "versions": {"python": platform.python_version(), **{name: version(name) for name in _PACKAGES}},
        "git_commit": git_commit(),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else f"cpu, {processor_name()}",
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
    }


@functools.cache
def processor_name(table: Path = Path("/proc/cpuinfo")) -> str:
    """Name of the processor, from Linux if possible, otherwise from Python.

    Args:
        table: of Linux: a line for each fact of a processor, of which those of the first one count.
    """
    first: dict[str, str] = {}
    if table.is_file():
        for line in files.read_bytes(table, _SYSTEM_TABLE).decode(errors="replace").splitlines():
            key, _, value = line.partition(":")
            first.setdefault(key.strip(), value.strip())
    named = [first[key] for key in ("model name", "CPU implementer", "CPU part") if first.get(key)]
    return " ".join(named) or platform.processor() or platform.machine()


def git_commit() -> str | None:
    """Commit of the package's checkout, with a + if modified; None if installed."""
    folder = Path(__file__).resolve().parent
    git = functools.partial(subprocess.run, cwd=folder, capture_output=True, text=True, check=True)
    try:
        git(["git", "ls-files", "--error-unmatch", __file__])
        return git(["git", "describe", "--always", "--exclude=*", "--abbrev=40", "--dirty=+"]).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def peak_memory() -> int:
    """Peak resident memory of this process in MiB; where there is no /proc, at least that of its parent's."""
    with suppress(OSError):  # VmHWM restarts with each program, ru_maxrss does not
        for peak_kib in re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text()):
            return int(peak_kib) // 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak // (1024 if sys.platform != "darwin" else 1024 * 1024)
