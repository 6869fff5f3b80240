"""Restore process-wide state (RNG, environment, logging, torch flags) after each job."""

from __future__ import annotations

import gc
import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch

from dovision import checks


@contextmanager
def isolated(seed: int, threads: int | None) -> Iterator[None]:
    """Seed Python, numpy and torch, set torch's threads (None: unchanged); restore process-wide state afterwards."""
    import pytorch_lightning as pl  # which commands without a job do not wait for
    from pytorch_lightning.utilities.seed import isolate_rng

    with isolate_rng(), warnings.catch_warnings(), ExitStack() as after:
        _put_back_torch(after)
        root = logging.getLogger()
        after.callback(root.setLevel, root.level)
        after.callback(setattr, root, "handlers", list(root.handlers))
        _put_back_environment(after)
        pl.seed_everything(seed, verbose=False)
        if threads is not None:
            torch.set_num_threads(checks.positive_int("threads", threads))
        yield


@contextmanager
def freeing_memory() -> Iterator[None]:
    """Collect garbage, which takes time in proportion to the objects, and empty device caches after the block."""
    try:
        yield
    finally:
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()


def _put_back_torch(after: ExitStack) -> None:
    kernels = torch.backends.cudnn
    after.callback(torch.set_num_threads, torch.get_num_threads())
    after.callback(
        torch.use_deterministic_algorithms,
        torch.are_deterministic_algorithms_enabled(),
        warn_only=torch.is_deterministic_algorithms_warn_only_enabled(),
    )
    after.callback(setattr, kernels, "deterministic", kernels.deterministic)
    after.callback(setattr, kernels, "benchmark", kernels.benchmark)
    after.callback(torch.set_default_dtype, torch.get_default_dtype())
    after.callback(torch.set_float32_matmul_precision, torch.get_float32_matmul_precision())


def _put_back_environment(after: ExitStack) -> None:
    before = dict(os.environ)
    after.callback(os.environ.update, before)
    after.callback(lambda: [os.environ.pop(name) for name in {*os.environ} - {*before}])


def is_rank_zero() -> bool:
    """Return False in the processes that Lightning starts for other devices, which record nothing."""
    return os.environ.get("LOCAL_RANK", "0") == "0"
