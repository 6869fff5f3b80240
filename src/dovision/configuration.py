"""Where the configuration lies."""

from __future__ import annotations

from pathlib import Path


def configuration_folder() -> Path:
    """The folder of the yaml files: inside the installed package, or at the top of a checkout."""
    package = Path(__file__).parent
    installed = package / "conf"
    return installed if installed.is_dir() else package.parents[1] / "conf"
