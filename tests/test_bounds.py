"""Every number of every yaml, however large, is refused in a sentence, or costs no memory.

Components are made, and interventions asked for their units; the parts are found by glob, so that a new one is tested
unlisted.
"""

import contextlib
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import OmegaConf

from dovision.config.sources import configuration_folder
from made_config import composed

GROUPS = ("attack", "augmentation", "autoencoder", "detector", "explainer", "fill", "intervention", "loss", "model")
PARTS = sorted(
    f"{group}/{path.stem}"
    for group in (*GROUPS, "dataset", "scheduler", "transform", "value")
    for path in (configuration_folder() / group).glob("*.yaml")
)
WHOLE, OTHERS = (10**9, 10**12, 2**63), (1e308, float("inf"), float("nan"))
WORDS = {"root": "nowhere", "name": "resnet18", "strength": 1.0, "site": "x", "second": "x", "direction": "nowhere"}
LARGEST = 3 << 30  # bytes that the process may take at all: more is refused by the system


def numbers(node: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], float]]:
    """Where numbers stand in a configuration, and the numbers."""
    if isinstance(node, (dict, list)):
        for key, value in node.items() if isinstance(node, dict) else enumerate(node):
            yield from numbers(value, (*path, key))
    elif isinstance(node, (int, float)) and not isinstance(node, bool):
        yield path, node


def configured(part: str) -> tuple[dict[str, Any], list[tuple[tuple[str | int, ...], float]]]:
    """The configuration of a part, with a word for each value that must be given, and the numbers of its own."""
    group, _, name = part.partition("/")
    facts = "+dataset={task: multiclass, classes: [a, b], shape: [1, 28, 28]}"
    own = [] if group == "dataset" else [facts]
    words = (f"+{group}@part={name}", "+seed=3", "+autoencoder.after=relu1", "+epochs=3", *own)
    whole = composed(*words, command=None)
    for key in OmegaConf.missing_keys(whole):
        OmegaConf.update(whole, key, WORDS.get(key.rpartition(".")[2], "nowhere"))
    own_numbers = list(numbers(OmegaConf.to_container(whole)["part"]))  # those that it takes from others are others'
    return OmegaConf.to_container(whole, resolve=True)["part"], own_numbers


def replaced(node: Any, path: tuple[str | int, ...], value: object) -> Any:
    if not path:
        return value
    copy = dict(node) if isinstance(node, dict) else list(node)
    copy[path[0]] = replaced(node[path[0]], path[1:], value)
    return copy


def made(node: dict[str, Any]) -> None:
    part = instantiate(OmegaConf.create(node), _convert_="all")
    if hasattr(part, "units"):
        part.units((1, 28, 28))


@pytest.fixture
def bounded():
    before = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + LARGEST, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.mark.parametrize("part", PARTS)
def test_a_number_of_any_size_costs_nothing(part, bounded):
    (node, found), bad = configured(part), []
    with contextlib.suppress(Exception):  # of a file that is not there
        made(node)  # what is imported first is no cost of the number
    for path, old in found:
        for value in WHOLE if isinstance(old, int) else OTHERS:
            try:
                made(replaced(node, path, value))
            except (ValueError, OSError, ImportError):
                pass
            except InstantiationException as reason:
                root = reason.__cause__
                if not isinstance(root, (ValueError, OSError, ImportError)):
                    bad.append(f"{path}={value}: {root!r:.80}")
    assert bad == []
