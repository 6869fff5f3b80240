"""Tasks of an array that die and come back, on machines whose clocks differ: is a shard lost, or measured twice?

    python checks/slurm_array.py --quick      8 tasks, 8 shards, 4 kills
    python checks/slurm_array.py              50 tasks, 50 shards, 25 kills; --leases: on a file system without locks

The command writes the array's script. Its tasks, forked from a process that has the package in memory, each have a
clock of their own, up to a minute early or late; --at-once of them are alive at a time, as in an array of sbatch with
%N. Tasks are killed by SIGKILL at random and queued again, as by a scheduler. When all have left, the command is given
again, which shows the jobs, and merges.

    lost     shards that are not completed, and the merged run if it is not
    wrong    tables of the merged run that are not to the byte those of the job in one piece
    twice    shards that were completed more than once, or that two processes measured at the same time
"""

from __future__ import annotations

import argparse
import errno
import fcntl
import gc
import io
import itertools
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from typing import Any

import torch

from dovision.cli import array_task
from dovision.cli.evaluate import main as evaluate
from dovision.evaluation.effects import EffectEvaluation
from dovision.io import locking

JOB = ("dataset=digits", "training.classifier.epochs=1", "evaluation.batch_size=2", "evaluation.num_thumbnails=1")
JOB += ("intervention.rows=1", "intervention.columns=2", "threads=1")
TABLES = ("samples.parquet", "effects.parquet")
SKEW = 60.0  # seconds that a clock is early or late, at most
LEASE, HEARTBEAT = 100.0, 4.0  # seconds; shorter than in use, to wait less
PATIENCE = 3600.0


def main() -> int:
    """Print what came of the shards; 1 if one was lost, wrong or measured twice."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--tasks", type=int)
    parser.add_argument("--kills", type=int)
    parser.add_argument("--at-once", type=int, default=4, help="tasks alive at a time")
    parser.add_argument("--leases", action="store_true", help="the file system has no flock")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="is kept")
    options = parser.parse_args()
    torch.set_num_threads(1)  # a fork lacks the threads of a pool, and would wait for them
    tasks = options.tasks or (8 if options.quick else 50)
    with tempfile.TemporaryDirectory() as folder:
        root, draw = options.folder or Path(folder), random.Random(options.seed)
        simulation = Simulation(root, tasks, options.leases)
        kills = simulation.run(tasks // 2 if options.kills is None else options.kills, options.at_once, draw)
        lost, wrong, twice = simulation.counts()
    store = "leases" if options.leases else "locks"
    print(f"{tasks} tasks, {tasks} shards, {kills} kills, {store}: {lost} lost, {wrong} wrong, {twice} twice")
    return int(bool(lost or wrong or twice))


class Simulation:
    """One array in one output root, beside the job in one piece."""

    def __init__(self, root: Path, tasks: int, leases: bool) -> None:
        self.root, self.tasks, self.leases, self.journal = root, tasks, leases, root / "journal"
        self.job = (*JOB, f"evaluation.images={2 * tasks}", f"output_root={root}")
        array = ("hydra/launcher=slurm_array", f"hydra.launcher.tasks={tasks}")
        shards = (f"evaluation.shards={tasks}", f"evaluation.shard=range({tasks})")
        self.command = ("-m", *self.job, *shards, *array)
        root.mkdir(parents=True, exist_ok=True)
        with redirect_stdout(io.StringIO()) as said, redirect_stderr(said):
            assert command(self.job) == 0, (
                said.getvalue()
            )  # in this process, whose forks find modules and the classifier
        (run,) = root.glob("evaluate/*/run.json")
        run.parent.rename(root / "whole")
        gc.collect()
        gc.freeze()

    def run(self, kills: int, at_once: int, draw: random.Random) -> int:
        """Submit the array, and see its tasks through; return the number of kills."""
        assert wait(self.fork(self.command)) == 0, (self.root / "log").read_text()
        skews = [draw.uniform(-SKEW, SKEW) for _ in range(self.tasks)]
        queue, running = list(range(self.tasks)), dict[int, int]()
        killed, end = 0, time.monotonic() + PATIENCE
        while (queue or running) and time.monotonic() < end:
            while queue and len(running) < at_once:
                task = queue.pop(0)
                running[self.task(task, skews[task])] = task
            time.sleep(draw.uniform(0.0, 1.0))
            at_work = [line["process"] for line in self.lines()[-3:]]
            if killed < kills and (alive := [process for process in at_work if process in running]):
                process = draw.choice(alive)  # one that measures
                os.kill(process, signal.SIGKILL)
                wait(process)
                queue.append(running.pop(process))
                skews[queue[-1]] *= -1
                killed += 1
            while running and (ended := os.waitpid(-1, os.WNOHANG))[0]:
                del running[ended[0]]
        for _ in range(3):
            if wait(self.fork(self.command)) == 0 and self.merged():
                break
        return killed

    def task(self, number: int, skew: float) -> int:
        """A task of the array as another process, on a machine whose clock is early by so many seconds."""
        return self.fork((str(self.root / "evaluate"), str(number)), skew, array_task.main)

    def fork(self, arguments: Sequence[str], skew: float = 0.0, script: Callable[[], None] = evaluate) -> int:
        """A console script as another process."""
        if process := os.fork():
            return process
        with suppress(BaseException), (self.root / "log").open("a") as log:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
            now = time.time
            time.time = lambda: now() + skew
            if self.leases:
                fcntl.flock = refused  # type: ignore[assignment]
                locking.LEASE, locking.HEARTBEAT = LEASE, HEARTBEAT
            self.note_batches()
            os._exit(command(arguments, script))
        os._exit(70)

    def note_batches(self) -> None:
        """Write a line to the journal before and after each batch that this process measures."""
        measure = EffectEvaluation.measure

        def measured(evaluation: EffectEvaluation, *arguments: object) -> None:
            self.note(evaluation, "begin")
            measure(evaluation, *arguments)  # type: ignore[arg-type]
            time.sleep(0.2)
            self.note(evaluation, "end")

        EffectEvaluation.measure = measured  # type: ignore[method-assign]

    def note(self, evaluation: EffectEvaluation, what: str) -> None:
        line = {"run": evaluation.folder.name, "what": what, "process": os.getpid(), "time": time.monotonic()}
        with self.journal.open("a") as file:
            file.write(json.dumps(line) + "\n")

    def lines(self) -> list[dict[str, Any]]:
        text = self.journal.read_text() if self.journal.exists() else ""
        return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]

    def merged(self) -> bool:
        return any(state(path.parent) == "completed" for path in self.runs() if "-of-" not in path.parent.name)

    def runs(self) -> list[Path]:
        return list(self.root.glob("evaluate/*/run.json"))

    def counts(self) -> tuple[int, int, int]:
        """How many shards and merged runs are lost, tables wrong, and shards measured twice."""
        completed = [path.parent for path in self.runs() if state(path.parent) == "completed"]
        whole = [folder for folder in completed if "-of-" not in folder.name]
        wrong = sum(
            (run / name).read_bytes() != (self.root / "whole" / name).read_bytes() for run in whole for name in TABLES
        )
        spans, begun, twice = defaultdict(list), {}, set()
        for line in self.lines():
            key = line["run"], line["process"]
            if line["what"] == "begin":
                begun[key] = line["time"]
            else:
                spans[line["run"]].append((begun.pop(key), line["time"], line["process"]))
        for run, batches in spans.items():
            if any(a[2] != b[2] and a[0] < b[1] and b[0] < a[1] for a, b in itertools.combinations(batches, 2)):
                twice.add(run)
        twice |= {run.name for run in completed if (run / "run.log").read_text().count("] completed in") > 1}
        return self.tasks + 1 - len(completed), wrong, len(twice)


def command(arguments: Sequence[str], script: Callable[[], None] = evaluate) -> int:
    """The exit code of a console script in this process."""
    sys.argv = ["dovision-evaluate", *arguments]
    try:
        script()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def wait(process: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def refused(*_: object) -> None:
    raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))


def state(folder: Path) -> str:
    return str(json.loads((folder / "run.json").read_text())["state"])


if __name__ == "__main__":
    sys.exit(main())
