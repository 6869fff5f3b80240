"""The console scripts' common part: the configuration's folder, keys checked before the start, errors in a sentence."""

from __future__ import annotations

import inspect
import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from dovision import checks, identity
from dovision.errors import configuration_folder, explain, readable
from dovision.session import JobFailed

Story = Callable[[DictConfig], None]


def command(name: str, story: Story) -> Callable[[], None]:
    """A console script that composes `<name>.yaml` and tells the story; errors of use are one line, and exit code 1."""

    def job(config: DictConfig) -> None:
        check_keys(config, HydraConfig.get().overrides.task)
        story(config)

    def main() -> None:
        os.environ["HYDRA_FULL_ERROR"] = "1"  # hand every error to this function, unprinted
        OmegaConf.register_new_resolver("run_hash", identity.run_hash, replace=True)
        _quieten()
        try:
            hydra.main(version_base="1.3", config_path=str(configuration_folder()), config_name=name)(job)()
        except JobFailed:
            sys.exit(1)
        except KeyboardInterrupt:
            sys.exit(130)
        except (ValueError, OSError, HydraException, OmegaConfBaseException) as error:
            print(f"dovision-{name}: {explain(error)}", file=sys.stderr)
            sys.exit(1)

    return main


def check_keys(config: DictConfig, overrides: list[str]) -> None:
    """Refuse a key that nothing reads: unknown to its `_target_`, or added with `+` where there is none.

    Raises:
        ValueError: names the key, and the nearest known ones.
    """
    for where, node in _targets(config, ""):
        legal = _parameters(node["_target_"])
        for key in map(str, node):
            if legal is not None and not key.startswith("_") and key not in legal:
                raise ValueError(checks.unknown_key(where, key, readable(legal)))
    for override in OverridesParser.create().parse_overrides(overrides):
        path = override.key_or_group
        if not override.is_add() or (configuration_folder() / path).is_dir():
            continue
        parent, _, key = path.rpartition(".")
        node = OmegaConf.select(config, parent) if parent else config
        if "_target_" not in node:
            known = (str(name) for name in node if name != key)
            raise ValueError(checks.unknown_key(parent or "the configuration", key, readable(known)))


def _targets(node: Any, where: str) -> Iterator[tuple[str, DictConfig]]:
    """Every part of the configuration that is made by a `_target_`, with its path."""
    if not isinstance(node, DictConfig) or node._is_none() or node._is_missing():
        return
    if "_target_" in node:
        yield where, node
    for key in map(str, node):
        if key != "hydra" and not OmegaConf.is_interpolation(node, key):
            yield from _targets(node[key], f"{where}.{key}".lstrip("."))


def _parameters(target: str) -> list[str] | None:
    """The arguments that a target takes by name; None if it takes any."""
    signature = inspect.signature(hydra.utils.get_object(target))
    kinds = {parameter.kind for parameter in signature.parameters.values()}
    return None if inspect.Parameter.VAR_KEYWORD in kinds else list(signature.parameters)


def _quieten() -> None:
    """Keep Lightning's advice, which is about its own plumbing, off the user's terminal."""
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"(pytorch_lightning|lightning_fabric)\..*")
