"""Weights that another program wrote, matched by name and shape to a network: all of them, or none."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from dovision import checks
from dovision.io import sealed
from dovision.models._published import has_numbers

log = logging.getLogger(__name__)
_COUNTS = "num_batches_tracked"  # of batch-norm, which networks of before torch 0.4.1 do not have, and no pass reads
_DENSE_LAYER = re.compile(r"(denselayer\d+\.(?:norm|conv))\.(\d\.)")  # torchvision's names of before torch 0.4.1
_ALONE = "Save its weights alone: read it where you trust it, with weights_only=False, and save its state_dict."
_State = Mapping[str, Tensor]


HEAD = (
    "If it is the head, of {count} classes, name these in dataset.classes, in its order, or fit another in its place: "
    "checkpoint=null model.weights=FILE model.new_head=true (torchvision_model, timm_model)."
)


def matched(
    path: str | Path, wanted: _State, new_head: Sequence[str] = (), ignored: Sequence[str] = (), head: str = HEAD
) -> tuple[dict[str, Tensor], list[str]]:
    """Rename a file's tensors to those of a network, and describe what was done.

    A state dict alone, or with other entries beside it, as of Lightning, timm and torchvision. A prefix under which the
    network's names stand, such as module. or model., is taken off where there is only one.

    Args:
        path: of torch.save (.pt, .pth, .ckpt), or .safetensors.
        wanted: what `network.state_dict()` gives; may be on the meta device.
        new_head: names of layers of which the tensors are not taken from the file.
        ignored: names of tensors of the file that are no weights.
        head: what to do about a head of other classes; {count} stands for their number.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it cannot be read, or has other names or shapes; the sentence names the first ones, and the remedy.
    """
    steps: list[str] = []
    state = {name: tensor for name, tensor in _tensors(path, steps).items() if name not in ignored}
    state = _without_prefix(state, wanted, steps)
    state = _with_names_of_today(path, state, wanted, steps)
    if new_head:
        layers = tuple(f"{layer}." for layer in new_head)
        state = {name: tensor for name, tensor in state.items() if not name.startswith(layers)}
        wanted = {name: tensor for name, tensor in wanted.items() if not name.startswith(layers)}
        steps.append(f"left out the head {' and '.join(new_head)}, which is drawn at random")
    _check_names(path, state, wanted)
    _check_shapes(path, state, wanted, head)
    if halved := sorted({str(tensor.dtype) for name, tensor in state.items() if tensor.dtype != wanted[name].dtype}):
        steps.append(f"made {', '.join(halved)} into the model's numbers")
    return state, steps


def load_weights(
    network: nn.Module,
    path: str,
    new_head: Sequence[str] = (),
    ignored: Sequence[str] = (),
    head: str = HEAD,
    classes: Sequence[str] = (),
) -> None:
    """Load a file's tensors into a network, except a new head; arguments and errors as of `matched`.

    The log names the `classes` for which its head is kept, in the order that they are taken to have there.
    """
    state, steps = matched(path, network.state_dict(), new_head, ignored, head)
    steps += [kept_head(classes)] if classes and not new_head else []
    if has_numbers():
        network.load_state_dict(state, strict=False)  # all is there but a new head, and counts of batches
        log.info("%s: %s", path, "; ".join(steps) or "took all of its tensors")


def kept_head(classes: Sequence[str]) -> str:
    """Log line on a head kept although the file does not name its classes."""
    return f"kept the head, its {len(classes):,} classes in the order {checks.listed(classes, 4)}"


def _content(path: str | Path) -> tuple[Any, list[str]]:
    """Content of a file, and the names of classes left unread."""
    if Path(path).suffix != ".safetensors":
        return sealed.read_tensors(path, _ALONE)
    torch_files = checks.import_extra("safetensors.torch", "timm")
    try:
        return torch_files.load_file(sealed.require(path)), []
    except checks.import_extra("safetensors", "timm").SafetensorError as error:
        raise ValueError(f"the checkpoint {path} must be of safetensors: {error}. Copy it again.") from error


def _tensors(path: str | Path, steps: list[str]) -> dict[str, Tensor]:
    """Tensors of a file by name, prefixed with the entry's name if several entries hold tensors."""
    content, unread = _content(path)
    tensors = _tensors_of(path, content, unread, steps)
    if unread:
        steps.append(f"left objects of {checks.listed(unread, 3)} unread")
    return tensors


def _tensors_of(path: str | Path, content: object, unread: Sequence[str], steps: list[str]) -> dict[str, Tensor]:
    if isinstance(content, sealed.Unread):
        raise ValueError(sealed.other_objects(path, checks.listed(unread, 3), _ALONE))
    if not isinstance(content, Mapping):
        raise ValueError(
            f"the checkpoint {path} must hold a dictionary of tensors by name, got {type(content).__name__}. "
            "Save the state_dict of the network."
        )
    nested = {str(name): value for name, value in content.items() if isinstance(value, Mapping) and value}
    entries = {name: state for name, state in nested.items() if all(isinstance(x, Tensor) for x in state.values())}
    if len(entries) == 1:
        ((name, state),) = entries.items()
        steps.append(f"took its entry {name}")
        return dict(state)
    if entries:
        return {f"{name}.{key}": tensor for name, state in entries.items() for key, tensor in state.items()}
    tensors = {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
    if not tensors and any(isinstance(value, sealed.Unread) for value in content.values()):
        raise ValueError(sealed.other_objects(path, checks.listed(unread, 3), _ALONE))
    if not tensors:
        got = checks.listed([str(name) for name in content], 6) or "nothing"
        raise ValueError(
            f"the checkpoint {path} must hold tensors by name, alone or in one of its entries, got the entries {got}. "
            "Save the state_dict of the network."
        )
    if others := [str(name) for name in content if str(name) not in tensors]:
        steps.append(f"left out {checks.listed(others, 6)}, which are no tensors")
    return tensors


def _without_prefix(state: _State, wanted: _State, steps: list[str]) -> dict[str, Tensor]:
    """Strip the prefix that most of the network's names share."""
    prefixes: Counter[str] = Counter()
    for name in state:
        words = name.split(".")
        prefixes.update(
            ".".join([*words[:cut], ""]) if cut else "" for cut in range(len(words)) if ".".join(words[cut:]) in wanted
        )
    prefix = max(prefixes, key=prefixes.__getitem__, default="")
    renamed = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
    if prefixes[""] == prefixes[prefix] or len(renamed) < len(state):  # some names are there with it and without
        return dict(state)
    steps.append(f"took off the prefix {prefix}")
    return renamed


def _with_names_of_today(path: str | Path, state: _State, wanted: _State, steps: list[str]) -> dict[str, Tensor]:
    """Rename tensors of old DenseNets; take CheXNet's head from a pair with a sigmoid."""
    renamed = {name: _DENSE_LAYER.sub(r"\1\2", name).replace("classifier.0.", "classifier.") for name in state}
    changed = [name for name, new in renamed.items() if name != new and name not in wanted and new in wanted]
    if not changed:
        return dict(state)
    steps.append(f"gave {len(changed)} tensors the names that torchvision has for them today")
    return {renamed[name] if name in changed else name: tensor for name, tensor in state.items()}


def _check_names(path: str | Path, state: _State, wanted: _State) -> None:
    lacking = [name for name in wanted if name not in state and not name.endswith(_COUNTS)]
    others = [name for name in state if name not in wanted]
    if not lacking and not others:
        return
    differences = [f"lacks {len(lacking)}: {checks.listed(lacking, 3)}"] if lacking else []
    differences += [f"has {len(others)} others: {checks.listed(others, 3)}"] if others else []
    raise ValueError(
        f"the checkpoint {path} must have the {len(wanted)} tensors of the model, but {' and '.join(differences)}. "
        "Choose the model that it was saved from, or save it with the names of this one."
    )


def _check_shapes(path: str | Path, state: _State, wanted: _State, head: str) -> None:
    unlike = [name for name in state if state[name].shape != wanted[name].shape]
    if unlike:
        name = unlike[0]
        raise ValueError(
            f"the checkpoint {path} must have the shapes of the model's tensors, but differs in {len(unlike)}, such as "
            f"{name}, {list(state[name].shape)} where the model has {list(wanted[name].shape)}. "
            f"{_shape_remedy(state[name], wanted[name], head)}"
        )
    for name, tensor in state.items():
        if tensor.is_floating_point() != wanted[name].is_floating_point():
            raise ValueError(
                f"the checkpoint {path} must have numbers of the model's kind, but {name} is of {tensor.dtype} where "
                f"the model has {wanted[name].dtype}. Save it as the model has it."
            )


def _shape_remedy(there: Tensor, here: Tensor, head: str) -> str:
    """Remedy for a shape mismatch: in a head, in a first convolution, or due to another network."""
    if there.shape[1:] == here.shape[1:]:
        return head.format(count=len(there))
    if there.dim() == here.dim() == 4 and len(there) == len(here) and there.shape[2:] == here.shape[2:]:
        return f"Set dataset.shape to images of {there.shape[1]} channels, as it was fitted to."
    return "Choose the model that it was saved from."
