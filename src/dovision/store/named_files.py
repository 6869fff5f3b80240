"""Content of the files that a configuration names, and of the attacked images of another run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from dovision.attacks.replay import FOLDER
from dovision.config.hashing import content_hash, paths_named
from dovision.io.files import sha256
from dovision.store.run_directory import RunDirectory
from dovision.store.run_files import RUN
from dovision.store.schemas import DIGESTS


def files_named(config: Mapping[str, Any], digest: Callable[[Path], str] = sha256) -> dict[str, str]:
    """The content of each file that a configuration names, by the name of the setting.

    A run directory stands for the attacked images in it.

    Args:
        config: in plain types.
        digest: of a file.

    Raises:
        ValueError: attacked images are not those that their run has recorded.
    """
    contents = {}
    for name, path in paths_named(config).items():
        if path.is_file():
            contents[name] = digest(path)
        elif (path / FOLDER).is_dir():
            contents[name] = content_hash(_attacked(path, digest))
    return contents


def _attacked(run: Path, digest: Callable[[Path], str]) -> dict[str, str]:
    """The digest of each file of attacked images in a run directory, by its name there."""
    files = sorted(path for path in run.glob(f"{FOLDER}/*/*") if path.is_file())
    found = {path.relative_to(run).as_posix(): digest(path) for path in files}
    record = run / RUN
    recorded = RunDirectory(run).facts().get(DIGESTS, {}) if record.is_file() else {}  # none before it is completed
    for name, own in found.items():
        if recorded and recorded.get(name, {}).get("sha256") != own:
            raise ValueError(
                f"{run / name} must be as its run has recorded it, got other bytes. Run that run's command again, "
                "which measures it again."
            )
    return found
