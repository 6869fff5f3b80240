"""A configuration as a tree for the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml
from rich.syntax import Syntax
from rich.text import Text
from rich.tree import Tree


def config_tree(config: Mapping[str, Any]) -> Tree:
    """A branch for each key of a configuration in plain types, with its values as YAML."""
    tree = Tree("configuration")
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            text = yaml.safe_dump(dict(value), sort_keys=False, allow_unicode=True)
            tree.add(key).add(Syntax(text.rstrip(), "yaml", background_color="default", word_wrap=True))
        else:
            tree.add(Text(f"{key}: {value}"))
    return tree
