import logging
import os
import random
import warnings

import numpy as np
import torch

from dovision.io.process_state import isolated


def state():
    return {
        "threads": torch.get_num_threads(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "benchmark": torch.backends.cudnn.benchmark,
        "dtype": torch.get_default_dtype(),
        "precision": torch.get_float32_matmul_precision(),
        "level": logging.getLogger().level,
        "handlers": list(logging.getLogger().handlers),
        "filters": list(warnings.filters),
        "environment": dict(os.environ),
        "torch": torch.get_rng_state().tolist(),
        "python": random.getstate(),
        "numpy": np.random.get_state()[1].tolist(),  # noqa: NPY002
    }


def test_all_that_a_job_changes_of_its_process_is_put_back(monkeypatch):
    monkeypatch.setenv("CHANGED", "before")
    before = state()
    with isolated(seed=3, threads=2):
        assert torch.get_num_threads() == 2
        torch.use_deterministic_algorithms(True)
        torch.backends.cudnn.benchmark = not before["benchmark"]
        torch.set_default_dtype(torch.float64)
        torch.set_float32_matmul_precision("medium")
        logging.getLogger().addHandler(logging.NullHandler())
        logging.getLogger().setLevel(logging.CRITICAL)
        warnings.simplefilter("error")
        os.environ.update(CHANGED="after", ADDED="1")
        torch.rand(1), random.random(), np.random.rand()  # noqa: NPY002
    assert state() == before


def test_the_same_seed_draws_the_same_whatever_was_drawn_before():
    drawn = []
    for _ in range(2):
        torch.rand(3)
        with isolated(seed=3, threads=None):
            drawn.append((torch.rand(1).item(), random.random(), np.random.rand()))  # noqa: NPY002
    assert drawn[0] == drawn[1]
