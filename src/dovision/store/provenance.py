"""The origin of a run: versions, commit, machine, files; what its rows depend on, and what it has taken."""

from __future__ import annotations

import functools
import platform
import resource
import subprocess
import sys
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from dovision.attacks.replay import FOLDER
from dovision.config import hashing
from dovision.config.settings import CommandSettings
from dovision.io import files
from dovision.io.files import sha256
from dovision.store.run_directory import RunDirectory
from dovision.store.run_files import RUN
from dovision.store.schemas import DIGESTS

_PACKAGES = ("dovision", "torch", "torchvision", "pytorch-lightning", "hydra-core", "numpy", "pandas", "pyarrow")
version = functools.cache(metadata.version)
_SYSTEM_TABLE = 1 << 22  # bytes
_ORIGIN = ("code", "torch", "settings", "components", "files", "dataset_fingerprint", "checkpoints")


def provenance() -> dict[str, Any]:
    """Versions, commit, machine and device."""
    return {
        "versions": {"python": platform.python_version(), **{name: version(name) for name in _PACKAGES}},
        "git_commit": git_commit(),
        "code": hashing.code_hash(),
        "device": device_name(),
        "threads": torch.get_num_threads(),
    }


def device_name() -> str:
    """The GPU, or the model of the processor."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else f"cpu, {processor_name()}"


@functools.cache
def processor_name(table: Path = Path("/proc/cpuinfo")) -> str:
    """The model of the processor as Linux names it, elsewhere as Python does.

    Args:
        table: of Linux: a line for each fact of a processor, of which those of the first one count.
    """
    facts: dict[str, str] = {}
    if table.is_file():
        for line in files.read_bytes(table, _SYSTEM_TABLE).decode(errors="replace").splitlines():
            key, _, value = line.partition(":")
            facts.setdefault(key.strip(), value.strip())
    named = [facts[key] for key in ("model name", "CPU implementer", "CPU part") if facts.get(key)]
    return " ".join(named) or platform.processor() or platform.machine()


def software() -> dict[str, str]:
    """The code and the torch that numbers depend on."""
    return {"code": hashing.code_hash(), "torch": version("torch")}


def surroundings(settings: CommandSettings, digest: Callable[[Path], str] = sha256) -> dict[str, Any]:
    """Dependencies of a run besides data and weights: code, the configuration, the digests of files that it names."""
    relevant = hashing.relevant_settings(settings)
    others = {name: value for name, value in relevant.items() if name not in hashing.OF_DATA_AND_WEIGHTS}
    made = {"settings": hashing.content_hash(relevant), "components": hashing.foreign_code(relevant)}
    return {**software(), **made, "files": files_named(others, digest)}


def origin(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Of a run's facts, what its rows depend on."""
    return {name: facts[name] for name in _ORIGIN}


def git_commit() -> str | None:
    """The commit of the checkout that the package is run from, with a + if it was changed; None if installed."""
    folder = Path(__file__).resolve().parent
    git = functools.partial(subprocess.run, cwd=folder, capture_output=True, text=True, check=True)
    try:
        git(["git", "ls-files", "--error-unmatch", __file__])
        return git(["git", "describe", "--always", "--exclude=*", "--abbrev=40", "--dirty=+"]).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def peak_memory() -> int:
    """Peak resident memory of this process in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak // (1024 if sys.platform != "darwin" else 1024 * 1024)


def files_named(config: Mapping[str, Any], digest: Callable[[Path], str] = sha256) -> dict[str, str]:
    """The digest of each file that a configuration, in plain types, names, by the name of the setting.

    A run directory stands for the attacked images in it, and the folder that is a component's `root`, or of which a
    model is read, for all below it.

    Raises:
        ValueError: attacked images are not those that their run has recorded.
    """
    contents = {}
    for name, path in hashing.paths_named(config).items():
        if path.is_file():
            contents[name] = digest(path)
        elif (path / FOLDER).is_dir():
            contents[name] = hashing.content_hash(_attacked(path, digest))
        elif name.endswith((".root", "model.source")):
            files = sorted(file for file in path.rglob("*") if file.is_file())
            contents[name] = hashing.content_hash({file.relative_to(path).as_posix(): digest(file) for file in files})
    return contents


def _attacked(run: Path, digest: Callable[[Path], str]) -> dict[str, str]:
    """The digest of each file of attacked images in a run directory, by its name there."""
    files = sorted(path for path in run.glob(f"{FOLDER}/*/*") if path.is_file())
    found = {path.relative_to(run).as_posix(): digest(path) for path in files}
    recorded = RunDirectory(run).facts().get(DIGESTS) if (run / RUN).is_file() else None  # none until it is completed
    for name, own in found.items():
        if recorded and recorded.get(name, {}).get("sha256") != own:
            raise ValueError(
                f"{run / name} must be as its run has recorded it, got other bytes. Run that run's command again, "
                "which measures it again."
            )
    return found
