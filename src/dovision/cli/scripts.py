"""The console scripts: what they tell of themselves is told at once, without torch; the rest is the commands' own."""

from __future__ import annotations

import contextlib
import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # what takes a second to import is imported where a Ctrl-C is answered in a line
    from omegaconf import DictConfig

TELLING = {"--help", "-h", "--hydra-help", "--cfg", "-c", "--shell-completion", "-sc"}


def train() -> None:
    """dovision-train."""
    _run("train")


def evaluate() -> None:
    """dovision-evaluate."""
    _run("evaluate")


def prepare() -> None:
    """dovision-prepare."""
    _run("prepare")


def report() -> None:
    """dovision-report."""
    _run("report")


def figures() -> None:
    """dovision-figures."""
    _run("figures")


def _run(name: str) -> None:
    try:
        _tell_or_do(name)
    except KeyboardInterrupt:  # while modules are imported, before the command listens to signals
        print(f"dovision-{name}: stopped by SIGINT", file=sys.stderr)
        sys.exit(130)


def _tell_or_do(name: str) -> None:
    if not TELLING.isdisjoint(argument.partition("=")[0] for argument in sys.argv[1:]):
        with contextlib.suppress(Exception):  # which the command itself then tells in a sentence
            _tell(name)
            return
    import_module(f"dovision.cli.{name}").main()


def _tell(name: str) -> None:
    import hydra

    from dovision.config.hashing import register_resolvers
    from dovision.config.sources import configuration_folder

    os.environ["HYDRA_FULL_ERROR"] = "1"  # hand every error to this function, unprinted
    register_resolvers()
    hydra.main(version_base="1.3", config_path=str(configuration_folder()), config_name=name)(_nothing)()


def _nothing(config: DictConfig) -> None:
    """What is done with a configuration that is only told."""
