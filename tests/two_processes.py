"""Two processes in one process group, which take a share of the batches each and compute a metric together."""

from __future__ import annotations

import multiprocessing
import pickle
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torchmetrics import Metric

SECONDS = 120  # until an answer is missing


def answer(rank: int, meeting: str, connection: Connection) -> None:
    """Compute metrics until there is none to compute; the body of a process."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=2)
    while (task := pickle.loads(connection.recv_bytes())) is not None:
        metric, batches = task
        for batch in batches:
            metric.update(*batch)
        connection.send(metric.compute())
    dist.destroy_process_group()


class TwoProcesses:
    """Start them; `close` ends them.

    Args:
        folder: where they meet.
    """

    def __init__(self, folder: Path) -> None:
        context = multiprocessing.get_context("spawn")
        self.connections: list[Connection] = []
        self.processes = []
        for rank in range(2):
            here, there = context.Pipe()
            process = context.Process(target=answer, args=(rank, f"file://{folder / 'meeting'}", there), daemon=True)
            process.start()
            self.connections.append(here)
            self.processes.append(process)

    def compute(self, metric: Metric, shares: Sequence[Sequence[Any]]) -> tuple[Tensor, Tensor]:
        """What each process computes, from batches of arguments of `update` for each of them."""
        for connection, batches in zip(self.connections, shares, strict=True):
            # `send` would put the states in memory that both processes add to
            connection.send_bytes(pickle.dumps((metric, batches)))
        assert all(connection.poll(SECONDS) for connection in self.connections), "a process does not answer"
        first, second = (connection.recv() for connection in self.connections)
        return first, second

    def close(self) -> None:
        for connection in self.connections:
            connection.send_bytes(pickle.dumps(None))
        for process in self.processes:
            process.join(SECONDS)
