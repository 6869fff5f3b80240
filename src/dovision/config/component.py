"""Components: nodes of the configuration from which an object is made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import InstantiationException
from omegaconf import OmegaConf

from dovision.config.errors import error_text, named
from dovision.config.sources import configuration_folder, resolved


class Component(Mapping[str, Any]):
    """What a node with a `_target_` describes: its settings by name, from which `make` makes it.

    Args:
        where: its place in the configuration, such as detection.attacks.pgd.
        content: the node in plain types.
        record: the same as it may be written out, with the names of environment variables in place of their values.
    """

    def __init__(self, where: str, content: Mapping[str, Any], record: Mapping[str, Any] | None = None) -> None:
        self.where = where
        self._content = dict(content)
        self._record = dict(content if record is None else record)

    def __getitem__(self, key: str) -> Any:
        return self._content[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._content)

    def __len__(self) -> int:
        return len(self._content)

    def __repr__(self) -> str:
        return f"Component({self.where!r}, {self._record!r})"

    def record(self) -> dict[str, Any]:
        """Its settings as they may be written out."""
        return dict(self._record)

    def replaced(self, **changes: Any) -> Component:
        """The same component with other values of some of its settings."""
        return Component(self.where, self._content | changes, self._record | changes)

    def make(self, **more: Any) -> Any:
        """The object that it describes, made from plain arguments and from `more`.

        Raises:
            ValueError: it refuses its arguments; the error begins with the name of the component.
        """
        node: dict[str, Any] = self._content
        for name in reversed(self.where.split(".")):
            node = {name: node}
        try:
            found = OmegaConf.select(OmegaConf.create(node), self.where)  # with its place, which an error then names
            return hydra.utils.instantiate(found, _convert_="all", **more)
        except InstantiationException as error:
            raise ValueError(error_text(error)) from error.__cause__
        except Exception as error:  # Hydra 1.4 hands on what the component raised, with its place in a line of its own
            message, _, where = str(error).partition("\nfull_key: ")
            own = error_text(error) if isinstance(error, OSError) else message
            raise ValueError(named(where.strip() or self.where, own)) from error


def make_each(components: Mapping[str, Component]) -> dict[str, Any]:
    """The objects that components describe, by the same names."""
    return {name: component.make() for name, component in components.items()}


def make_group(group: str) -> dict[str, Any]:
    """Every component of a group by its name, made.

    Raises:
        ValueError: a component refuses its arguments; the error begins with its name.
    """
    return make_each(read_group(group))


def read_group(group: str, **around: Any) -> dict[str, Component]:
    """Every component of a group by its name: the package's, and those of a folder that was given to the command.

    Of two with one name it is the first that counts, as in Hydra. The package has its figures in one file.

    Args:
        group: the name of its folder.
        around: values of the configuration that components may refer to.
    """
    folders = [configuration_folder()]
    if HydraConfig.initialized():
        sources = HydraConfig.get().runtime.config_sources
        folders += [Path(source.path) for source in sources if source.schema == "file"]
    files = {path.stem: path for folder in reversed(folders) for path in sorted((folder / group).glob("*.yaml"))}
    packaged = configuration_folder() / f"{group}.yaml"
    nodes: dict[Any, Any] = {**OmegaConf.load(packaged)} if packaged.is_file() else {}
    nodes |= {name: OmegaConf.load(path) for name, path in files.items()}
    nodes = resolved(OmegaConf.create({**around, group: nodes}))[group]
    return {name: Component(f"{group}.{name}", node) for name, node in nodes.items()}
