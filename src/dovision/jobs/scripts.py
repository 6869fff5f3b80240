"""The console scripts: help and misspelt keys without torch, completed runs without Lightning; the rest on demand."""

from __future__ import annotations

import atexit
import gc
import os
import sys
import warnings
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING

from dovision.io.allocator import uncollected

if TYPE_CHECKING:  # what takes a second to import is imported where a Ctrl-C is answered in a line
    from omegaconf import DictConfig

COMMANDS = ("train", "evaluate", "report", "sites", "verify", "view")
PRINTING = {"--help", "-h", "--hydra-help", "--cfg", "-c", "--shell-completion", "-sc"}


def multirun_first(words: list[str]) -> list[str]:
    """Move -m before the overrides of a command line, where Hydra's parser accepts it."""
    flags = [word for word in words if word in ("-m", "--multirun")]
    return [*flags[:1], *(word for word in words if word not in flags)]


def _run(name: str) -> None:
    sys.argv[1:] = multirun_first(sys.argv[1:])
    if "--version" in sys.argv[1:]:
        print(f"dovision {version('dovision')}")
        return
    try:
        if not PRINTING.isdisjoint(argument.partition("=")[0] for argument in sys.argv[1:]) and _print_only(name):
            return
        if refused := _refusal(name):
            print(f"dovision-{name}: {refused}", file=sys.stderr)
            sys.exit(1)
        atexit.register(_free_triton)
        with uncollected():
            from dovision.jobs import hydra_main
        getattr(hydra_main, name)()
    except KeyboardInterrupt:  # while modules are imported, before the command listens to signals
        print(f"dovision-{name}: stopped by SIGINT", file=sys.stderr)
        sys.exit(130)


def _refusal(name: str) -> str:
    from dovision.config.composition import early_refusal
    from dovision.identity.relevance import register_resolvers

    register_resolvers()
    return early_refusal(name, sys.argv[1:])


def _free_triton() -> None:
    """Drop Triton before the process ends: torch's CUDA build imports it, and it prints leftovers."""
    if "triton" in sys.modules:
        gc.unfreeze()


def _print_only(name: str) -> bool:
    """Print help or a configuration; False where that fails, which the command itself then reports in a sentence."""
    import hydra

    from dovision.config.sources import COMMAND_DEFAULTS, configuration_folder
    from dovision.identity.relevance import register_resolvers

    os.environ["HYDRA_FULL_ERROR"] = "1"  # hand every error to this function, unprinted
    warnings.filterwarnings("ignore", category=UserWarning)  # of Hydra, about the configurations of launchers
    register_resolvers()
    try:
        hydra.main(config_path=str(configuration_folder()), config_name=name, **COMMAND_DEFAULTS)(_nothing)()
        sys.stdout.flush()
    except BrokenPipeError:  # the reader, such as head, has what it wanted
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except Exception:
        return False
    return True


def _nothing(config: DictConfig) -> None:
    """Empty task, for configurations that are only printed."""


train, evaluate, report, sites, verify, view = (partial(_run, name) for name in COMMANDS)
