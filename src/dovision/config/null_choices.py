"""A group that is set to null, which Hydra refuses, as it is written for Hydra."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from dovision.config.sources import configuration_folder
from dovision.io.text_files import read_yaml

_NULL = re.compile(r"(?P<group>[\w/]+)=null")
_SHARED = "fitting"  # the configuration that the commands with jobs are made of


def without_null(command: str, words: Sequence[str]) -> list[str]:
    """The words of a command line, with GROUP=[] for GROUP=null where a group takes a list: logger=null.

    Where nothing is chosen unless it is asked for, as of experiment, the word is left out; others stay.

    Args:
        command: whose configuration chooses from groups.
        words: as they were typed.
    """
    chosen: dict[str, Any] = {}
    for name in (_SHARED, command):
        for entry in read_yaml(configuration_folder() / f"{name}.yaml")["defaults"]:
            chosen.update(entry if isinstance(entry, dict) else {})
    found = []
    for word in words:
        match = _NULL.fullmatch(word)
        group = match["group"] if match else ""
        if isinstance(chosen.get(group), list):
            found.append(f"{group}=[]")
        elif group not in chosen or chosen[group] is not None:
            found.append(word)
    return found
