"""What a command does again and again, done once in tests: parse and merge files, list defaults, wait for a disk.

What is done once is pickled: a copy of a configuration takes a tenth of the time that OmegaConf takes to make it.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import hydra
import pytest
from hydra._internal import defaults_list
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.plugins.sweeper import Sweeper
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from dovision.config.sources import configuration_folder


@pytest.fixture(scope="session", autouse=True)
def once() -> Iterator[None]:
    """A command that is refused takes half as long so."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(OmegaConf, "load", staticmethod(_parsed_once(OmegaConf.load)))
        patch.setattr(defaults_list, "_create_defaults_list", _listed_once(defaults_list._create_defaults_list))
        merge = ConfigLoaderImpl._compose_config_from_defaults_list
        patch.setattr(ConfigLoaderImpl, "_compose_config_from_defaults_list", _merged_once(merge))
        if hydra.__version__.startswith("1.3."):  # later versions have other arguments
            patch.setattr(ConfigLoaderImpl, "load_configuration", _composed_once(ConfigLoaderImpl.load_configuration))
        patch.setattr(Sweeper, "validate_batch_is_legal", lambda self, batch: None)  # the launcher composes it, too
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


def _parsed_once(load: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Keeps the configuration of a text, of which each reader gets a copy."""
    parsed: dict[str, bytes] = {}

    def read(file: Any) -> Any:
        if not hasattr(file, "read"):
            return load(file)
        text = file.read()
        if text not in parsed:
            file.seek(0)  # an error names the file
            parsed[text] = pickle.dumps(load(file))
        return pickle.loads(parsed[text])

    return read


def _listed_once(create: Callable[..., Any]) -> Callable[..., Any]:
    """Keeps the list of defaults that groups are chosen by: no other override changes it, nor does another command.

    Not of folders of a test's own, whose files may change.
    """
    known: dict[str, bytes] = {}

    def listed(repo: Any, config_name: str, overrides: Any, prepend_hydra: bool, skip_missing: bool) -> Any:
        def made() -> Any:
            return create(repo, config_name, overrides, prepend_hydra=prepend_hydra, skip_missing=skip_missing)

        sources = _sources(repo)
        if sources is None:
            return made()
        chosen = {name: value for name, value in vars(overrides).items() if name != "config_overrides"}
        key = repr((sources, config_name, prepend_hydra, skip_missing, chosen))
        if key not in known:
            result = made()
            known[key] = pickle.dumps((result, chosen))
            return result
        result, state = pickle.loads(known[key])
        vars(overrides).update(state)
        return result

    return listed


def _merged_once(merge: Callable[..., DictConfig]) -> Callable[..., DictConfig]:
    """Keeps what the files of a list of defaults make together, before any override."""
    known: dict[str, bytes] = {}

    def merged(self: Any, defaults: Any, repo: Any) -> DictConfig:
        sources = _sources(repo)
        if sources is None:
            return merge(self, defaults, repo)
        key = repr((sources, defaults))
        if key not in known:
            known[key] = pickle.dumps(merge(self, defaults, repo))
        config: DictConfig = pickle.loads(known[key])
        return config

    return merged


def _sources(repo: Any) -> tuple[type[Any], list[tuple[str, str]]] | None:
    """Where a repository reads, and by which class; None if not this project's configuration alone."""
    sources = [(source.provider, source.path) for source in repo.get_sources()]
    if not {path for _, path in sources} <= {str(configuration_folder()), "hydra.conf", ""}:
        return None
    return type(repo.delegate), sources


def _composed_once(compose: Callable[..., DictConfig]) -> Callable[..., DictConfig]:
    """Hydra composes a command line to find out its mode, and then again in this mode."""

    def load(
        self: Any,
        config_name: str,
        overrides: Sequence[str],
        run_mode: RunMode,
        from_shell: bool = True,
        validate_sweep_overrides: bool = True,
    ) -> DictConfig:
        kept, self.composed = getattr(self, "composed", None), None
        mode = [word for word in overrides if word.startswith("hydra.mode=")]  # which Hydra adds once it is found out
        asked = (config_name, [word for word in overrides if word not in mode[-1:]])
        if kept is None or kept[0] != asked or not validate_sweep_overrides:
            config = compose(self, config_name, list(overrides), run_mode, from_shell, validate_sweep_overrides)
            if not validate_sweep_overrides and not mode:
                self.composed = asked, config
            return config
        parsed = OverridesParser.create(config_loader=self).parse_overrides(list(overrides))
        self.validate_sweep_overrides_legal(parsed, run_mode, from_shell)
        for word in mode:
            kept[1].hydra.overrides.hydra.append(word)
            kept[1].hydra.mode = RunMode[word.partition("=")[2]]
        return kept[1]

    return load
