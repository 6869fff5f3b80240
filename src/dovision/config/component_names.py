"""Components and metrics by the names of their classes, found in the folders without importing any of them."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from pathlib import Path

_PACKAGE = Path(__file__).parents[1]
_KINDS = ("attacks", "datasets", "detectors", "explainers", "interventions", "models")  # packages of components
_TARGET = re.compile(rf"^\s*_target_: dovision\.((?:{'|'.join(_KINDS)})\.\w+)\.(\w+)\s*$", re.MULTILINE)
_METRIC = re.compile(r"^class ([A-Z]\w*)\(", re.MULTILINE)


def configuration_folder() -> Path:
    """The folder of the yaml files: inside the installed package, or at the top of a checkout."""
    installed = _PACKAGE / "conf"
    return installed if installed.is_dir() else _PACKAGE.parents[1] / "conf"


@functools.cache
def component_homes() -> dict[str, str]:
    """The module of each class or function that a yaml of `conf/` makes, by its name, such as PGD.

    A module is named below `dovision`, such as attacks.gradient_ascent.
    """
    found = {name: home for path in configuration_folder().rglob("*.yaml") for home, name in _targets(path)}
    return dict(sorted(found.items()))


@functools.cache
def metric_homes() -> dict[str, str]:
    """The module of each metric of torchmetrics that this package has, by the name of its class."""
    paths = [path for path in (_PACKAGE / "metrics").glob("*.py") if not path.stem.startswith("_")]
    found = {name: f"metrics.{path.stem}" for path in paths for name in _METRIC.findall(path.read_text("utf-8"))}
    return dict(sorted(found.items()))


def _targets(path: Path) -> Iterator[tuple[str, str]]:
    yield from _TARGET.findall(path.read_text("utf-8"))
