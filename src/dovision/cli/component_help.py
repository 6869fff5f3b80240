"""Help of components: their keys with defaults and comments, as their yaml files have them."""

from __future__ import annotations

import re
import shutil
import textwrap
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import yaml

from dovision.config.sources import configuration_folder
from dovision.io import files

_CHOICE = re.compile(r"\+{0,2}(?P<group>[\w/]+)(@(?P<package>[\w.]+))?=(?P<names>[\w\[\],' -]+)")
_PACKAGE = re.compile(r"# @package (\S+)")
_COMMENT = re.compile(r"#\s*(.*)")
_DEFAULT = re.compile(r"(override )?/?(?P<group>[\w/]+)(@(?P<package>[\w.]+))?")
_WITHOUT_PREFIX = "_global_"  # the package of an experiment, whose keys are those of the command
_MOST = 40  # letters of a key with its default, beside which its comment begins


class _Component(NamedTuple):
    """A component that is asked for: as it is chosen, where its keys stand, and its file."""

    choice: str
    package: str
    path: Path


class _Key(NamedTuple):
    """A key with its default, as it is set on the command line, and its comment."""

    setting: str
    comment: str


def component_help(arguments: Sequence[str]) -> str:
    """The help of each component that the arguments choose, such as attack=pgd; empty if they choose none.

    Raises:
        FileNotFoundError: there is no such component.
    """
    folders = [*_given_folders(arguments), configuration_folder()]
    components = [component for word in arguments for component in _chosen(word, folders)]
    return "\n".join(_text(component) for component in components)


def _given_folders(arguments: Sequence[str]) -> Iterator[Path]:
    """The folder of --config-dir."""
    for word, following in pairwise([*arguments, ""]):
        option, _, value = word.partition("=")
        if option in ("--config-dir", "-cd"):
            yield Path(value or following)


def _chosen(word: str, folders: Sequence[Path]) -> Iterator[_Component]:
    """The components that an argument chooses by their group, one or several in a list or a sweep."""
    match = _CHOICE.fullmatch(word)
    if match is None or not any((folder / match["group"]).is_dir() for folder in folders):
        return
    group = f"{match['group']}@{match['package']}" if match["package"] else match["group"]
    names = re.findall(r"[\w-]+", match["names"])
    for name in (name for name in names if name != "null"):
        paths = [folder / match["group"] / f"{name}.yaml" for folder in folders]
        path = next((path for path in paths if path.is_file()), None)
        if path is None:
            raise FileNotFoundError(f"{match['group']} has no component {name}")
        own = _PACKAGE.match(files.read_text(path))
        package = match["package"] or (own[1] if own else match["group"].replace("/", "."))
        yield _Component(f"{group}={name}", "" if package == _WITHOUT_PREFIX else package, path)


def _text(component: _Component) -> str:
    text = files.read_text(component.path)
    width = shutil.get_terminal_size((120, 24)).columns
    head = [line[2:] for line in text.splitlines() if line.startswith("# ") and not _PACKAGE.match(line)]
    lines = textwrap.wrap(f"{component.choice}: {head[0] if head else ''}", width, subsequent_indent="  ")
    keys = list(_keys(text, component.package))
    column = min(max((len(key.setting) for key in keys), default=0), _MOST) + 4
    for key in keys:
        setting, comment = f"  {key.setting}", textwrap.wrap(key.comment, max(width - column, 30))
        beside = comment.pop(0) if comment and len(setting) < column else ""
        lines += [f"{setting:{column}}{beside}".rstrip(), *(" " * column + line for line in comment)]
    return "\n".join([*lines, ""])


def _keys(text: str, package: str) -> Iterator[_Key]:
    """The keys of a yaml file: first the components that it is made of, then its own."""
    root = yaml.compose(text, yaml.SafeLoader)
    lines = text.splitlines()
    for key, value in root.value if root else ():
        if key.value == "defaults":
            yield from _defaults(value, lines, package)
    for key, value in root.value if root else ():
        if key.value not in ("defaults", "_target_"):
            yield from _settings(key, value, lines, package)


def _defaults(entries: yaml.SequenceNode, lines: Sequence[str], package: str) -> Iterator[_Key]:
    for entry in entries.value:
        if not isinstance(entry, yaml.MappingNode):  # _self_
            continue
        ((key, value),) = entry.value
        match = _DEFAULT.fullmatch(key.value)
        if match is None:
            continue
        where = f"@{_dotted(package, match['package'])}" if match["package"] else ""
        yield _Key(f"{match['group']}{where}={_source(value, lines)}", _comment(key, value, lines))


def _settings(key: yaml.Node, value: yaml.Node, lines: Sequence[str], where: str) -> Iterator[_Key]:
    name = _dotted(where, key.value)
    if isinstance(value, yaml.MappingNode) and value.value and not value.flow_style:
        for inner_key, inner in value.value:
            yield from _settings(inner_key, inner, lines, name)
    elif key.value != "_partial_":
        yield _Key(f"{name}={_source(value, lines)}", _comment(key, value, lines))


def _dotted(where: str, name: str) -> str:
    return f"{where}.{name}" if where else str(name)


def _source(value: yaml.Node, lines: Sequence[str]) -> str:
    """The value as it is written, in one line."""
    first, last = value.start_mark, value.end_mark
    if first.line == last.line:
        return lines[first.line][first.column : last.column]
    plain = yaml.SafeLoader("").construct_document(value)
    return str(yaml.safe_dump(plain, default_flow_style=True, width=1000)).strip()


def _comment(key: yaml.Node, value: yaml.Node, lines: Sequence[str]) -> str:
    """The comment behind a value, or that above its key."""
    is_block = value.style in ("|", ">") if isinstance(value, yaml.ScalarNode) else not value.flow_style
    end = key.end_mark if is_block else value.end_mark
    behind = _COMMENT.search(lines[end.line], end.column)
    above = lines[key.start_mark.line - 1].strip() if key.start_mark.line > 1 else ""
    return behind[1] if behind else above[2:] if above.startswith("# ") else ""
