"""Components: nodes of the configuration from which an object is made."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

from dovision.config.errors import error_text, named
from dovision.config.import_target import import_target
from dovision.config.sources import configuration_folder, resolved

OF_HYDRA = ("_target_", "_args_", "_partial_", "_recursive_", "_convert_")  # keys that no target takes


class Component(Mapping[str, Any]):
    """Settings of a node with a `_target_`, by name; `make` creates the object.

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
        """Settings without values of environment variables."""
        return dict(self._record)

    def replaced(self, **changes: Any) -> Component:
        """The same component with other values of some of its settings."""
        return Component(self.where, self._content | changes, self._record | changes)

    def make(self, **more: Any) -> Any:
        """Make the object from the settings and from `more`.

        A mapping in `more` changes the settings that it names, at any depth, and leaves the others as they are.

        Raises:
            ValueError: it refuses its arguments; the error begins with the name of the component.
        """
        content = OmegaConf.create(self._content, flags={"allow_objects": True})
        content.merge_with({key: more.pop(key) for key in [*more] if type(more[key]) is dict})
        return _made(cast(dict[str, Any], OmegaConf.to_container(content)), self.where, more)


def _made(node: Mapping[str, Any], where: str, more: Mapping[str, Any] | None = None) -> Any:
    """Instantiate a node as `hydra.utils.instantiate` does; errors begin with the node's path."""
    arguments = {key: value for key, value in node.items() if key not in OF_HYDRA}
    positional = list(node.get("_args_", ()))
    if node.get("_recursive_", True):
        arguments = {key: _argument(value, f"{where}.{key}") for key, value in arguments.items()}
        positional = _argument(positional, where)
    try:
        target = import_target(str(node["_target_"]))
        arguments |= more or {}
        return (
            functools.partial(target, *positional, **arguments)
            if node.get("_partial_")
            else target(*positional, **arguments)
        )
    except Exception as error:
        raise ValueError(named(where, error_text(error))) from error


def _argument(value: Any, where: str) -> Any:
    """Convert a plain value, making the components in it."""
    if isinstance(value, Mapping):
        if "_target_" in value:
            return _made(value, where)
        return {key: _argument(item, f"{where}.{key}") for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_argument(item, f"{where}.{number}") for number, item in enumerate(value)]
    return value


def make_each(components: Mapping[str, Component]) -> dict[str, Any]:
    """Make the objects of components, by the same names."""
    return {name: component.make() for name, component in components.items()}


def read_group(group: str, **around: Any) -> dict[str, Component]:
    """Read every component of a group, by name: the package's own and those of a user's config folder.

    Of two with one name it is the first that counts, as in Hydra. The package has its figures in one file.

    `around` are values of the configuration that components may refer to.
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
