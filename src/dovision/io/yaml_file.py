"""Read a YAML file of plain types, in which nothing stands for something else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from dovision.io import files


class _Plain(yaml.SafeLoader):  # type: ignore[misc]
    """Plain types without aliases: of 30 lines, each twice the line before, a reader would see a thousand million."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.events.AliasEvent):
            raise yaml.YAMLError("it has an alias (*)")
        return super().compose_node(parent, index)


def read_yaml(path: Path) -> Any:
    """The content of a regular YAML file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no YAML of plain types without aliases, or larger than other text may be.
    """
    text = files.read_text(path)
    try:
        return yaml.load(text, _Plain)  # the loader makes plain types only
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(f"{path} must be YAML of plain types: {' '.join(str(error).split())}.") from error
