"""A second device without hardware, "sim": its tensors hold their numbers on the CPU.

As on CUDA, an operation on tensors of both devices raises. See `check`.
"""

import copy
from collections import Counter
from collections.abc import Callable
from functools import cache

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.accelerators import AcceleratorRegistry, CPUAccelerator
from pytorch_lightning.strategies import SingleDeviceStrategy
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from dovision.types import Batch

WAITING = {  # operations of which the CPU reads the result, or its shape
    *("_local_scalar_dense", "is_nonzero", "equal", "nonzero", "masked_select", "_unique2", "unique_dim", "bincount"),
    *("unique_consecutive", "repeat_interleave"),
}
INDEXING = {"index", "index_put", "index_put_", "_index_put_impl_"}  # which take indices of the CPU, and upload them
COUNTS: Counter[str] = Counter()  # uploads, and synchronisations: the CPU waits for the device


class SimTensor(torch.Tensor):
    """A tensor on the device."""

    @staticmethod
    def __new__(cls, held: Tensor) -> "SimTensor":
        layout = {"strides": held.stride(), "storage_offset": held.storage_offset(), "dtype": held.dtype}
        tensor = torch.Tensor._make_wrapper_subclass(cls, held.shape, **layout, device=torch.device("sim", 0))
        tensor.held = held
        return tensor

    def tolist(self):
        return self.cpu().tolist()

    def numpy(self, **options):
        raise TypeError("can't convert sim:0 device type tensor to numpy. Use Tensor.cpu()")

    __array__ = numpy

    def __repr__(self, **options):
        return f"SimTensor({self.held})"

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return run(func, args, kwargs or {})


def on_sim(value: object) -> bool:
    return isinstance(value, SimTensor)


def held(value: object) -> object:
    return value.held if on_sim(value) else value


def wrapped(value: object) -> object:
    return SimTensor(value) if isinstance(value, Tensor) and not on_sim(value) else value


def run(func, args, kwargs):
    """Run an operation on what the tensors hold; its results lie where CUDA would put them."""
    name, device = func.overloadpacket.__name__, kwargs.get("device")
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    to_sim = any(map(on_sim, tensors)) if device is None else torch.device(device).type == "sim"
    if name in ("_to_copy", "copy_"):
        source, to_sim = (args[1], on_sim(args[0])) if name == "copy_" else (args[0], to_sim)
        COUNTS["uploads"] += to_sim and not on_sim(source)
        COUNTS["synchronisations"] += on_sim(source) and not to_sim
    elif any(map(on_sim, tensors)):
        here = [tensor for tensor in tensors if not on_sim(tensor) and tensor.ndim > 0]
        if name in INDEXING and on_sim(args[0]):
            indices = [index for index in args[1] if index is not None]
            COUNTS["uploads"] += sum(not on_sim(index) for index in indices)
            COUNTS["synchronisations"] += any(index.dtype in (torch.bool, torch.uint8) for index in indices)
            here = [tensor for tensor in here if not any(tensor is index for index in indices)]
        if here:
            raise RuntimeError(f"{func}: tensors on sim:0 and on cpu, {[tuple(tensor.shape) for tensor in here]}")
        COUNTS["synchronisations"] += name in WAITING
    if to_sim and torch.Tag.nondeterministic_seeded in func.tags:
        raise RuntimeError(f"{func}: draws on a device differ from those of the CPU")
    inner = {key: value for key, value in kwargs.items() if key not in ("device", "pin_memory")}
    inner |= {} if device is None else {"device": "cpu"}
    result = func(*tree_map(held, args), **tree_map(held, inner))
    if func._schema.is_mutable and isinstance(result, Tensor):  # in place, or into `out`
        return next(tensor for tensor in tensors if held(tensor) is result)
    return tree_map(wrapped, result) if to_sim else result


class SecondDevice(TorchDispatchMode):
    """Inside, operations that name the device, and may have no tensor on it among their arguments, run there."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        device = (kwargs or {}).get("device")
        sim = any(map(on_sim, tree_leaves((args, kwargs)))) if device is None else torch.device(device).type == "sim"
        return run(func, args, kwargs or {}) if sim or on_sim(args and args[0]) else func(*args, **(kwargs or {}))


class SimAccelerator(CPUAccelerator):
    def setup_device(self, device): ...

    @staticmethod
    def get_parallel_devices(devices):
        return [torch.device("sim", 0)]


def sim_trainer(accelerator: str, trainer=pl.Trainer, **options) -> pl.Trainer:
    strategy = {"strategy": SingleDeviceStrategy(torch.device("sim", 0))} if accelerator == "sim" else {}
    return trainer(accelerator=accelerator, **strategy, **options)


@cache
def set_up() -> list[torch.library.Library]:
    if not hasattr(torch.utils.backend_registration, "_setup_privateuseone_for_python_backend"):
        pytest.skip("a device in Python needs torch 2.10")
    torch.utils.backend_registration._setup_privateuseone_for_python_backend("sim")
    library = torch.library.Library("aten", "IMPL")  # what torch asks for below the tensor: of a list of indices
    empty = lambda *shape, dtype=None, **_: SimTensor(torch.empty_strided(*shape, dtype=dtype))  # noqa: E731
    copied = lambda source, onto, *_: run(torch.ops.aten.copy_.default, (onto, source), {})  # noqa: E731
    library.impl("empty_strided", empty, "PrivateUse1")
    library.impl("_copy_from", copied, "PrivateUse1")
    AcceleratorRegistry.register("sim", SimAccelerator)
    return [library]


def check(call: Callable[..., Tensor], component: object, *given: object) -> None:
    """Compare `call` of a component and what it is given on both devices, and count on the second one."""
    set_up()
    expected = call(*map(copy.deepcopy, (component, *given)))
    with SecondDevice():
        moved = [Batch(*(field.to("sim") for field in item)) if isinstance(item, Batch) else item.to("sim")
                 for item in map(copy.deepcopy, given)]  # fmt: skip
        COUNTS.clear()
        result = call(copy.deepcopy(component), *moved)
    assert on_sim(result)
    torch.testing.assert_close(held(result), expected, rtol=0, atol=1e-5)
