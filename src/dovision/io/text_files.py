"""Text, JSON and YAML files that are whole or not there, and folders to write to."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import yaml

from dovision.io.atomic import replacing
from dovision.io.files import JSON, YAML, read_text

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # in C, where PyYAML was built with it
_Dumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


def make_folder(folder: Path, setting: str) -> None:
    """Make a folder to write to.

    Raises:
        OSError: it cannot be made or written to; the error names it and the setting that chooses another.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise type(error)(
            f"{folder} must be a folder that can be written to, got: {error.strerror}. "
            f"Choose another one with {setting}=..."
        ) from error


def write_text(path: Path, text: str) -> None:
    """Replace the file's content by `text`, atomically."""
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Replace the file's content by `content`, plain types without nan or infinity, atomically."""
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def yaml_text(content: object) -> str:
    """Plain types as YAML, their keys in the order that they have."""
    text: str = yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True)
    return text


def read_json(path: Path) -> dict[str, Any]:
    """Read a file written by `write_json`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is not one JSON object; the error names it.
    """
    try:
        content = json.loads(read_text(path, JSON))
    except (ValueError, RecursionError) as error:  # broken JSON or broken UTF-8, or no regular file
        content = error
    if not isinstance(content, dict):
        raise ValueError(
            f"{path} must hold one JSON object, got damaged content. Delete the folder {path.parent} and run again."
        )
    return content


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML mapping without aliases.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no mapping of plain types without aliases, or larger than other text may be.
    """
    text = read_text(path, YAML)
    try:
        # aliases: of 30 lines, each twice the line before, a reader would see a thousand million
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, _Loader)):
            raise yaml.YAMLError("it has an alias (*)")
        content = yaml.load(text, _Loader)  # the loader makes plain types only
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(f"{path} must be YAML of plain types: {' '.join(str(error).split())}.") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} must hold a mapping (key: value), got {type(content).__name__}.")
    return content
