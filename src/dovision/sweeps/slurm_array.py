"""A sweep as an array of tasks that claim its jobs, without a process that waits for them.

<sweep>/.slurm_array/array.sh     for sbatch, or for sh on any machine that shares the folder
                     jobs.json    the jobs that were left when it was written
                     0.log, ...   what tasks print
"""

from __future__ import annotations

import logging
import os
import shlex
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import Quote, QuotedString

from dovision.findings.sweep_summary import facts_of
from dovision.io import locking
from dovision.io.text_files import make_folder, read_json, write_json, write_text
from dovision.store.run_directory import RunDirectory
from dovision.sweeps.jobs import Job

log = logging.getLogger(__name__)
FOLDER, JOBS = ".slurm_array", "jobs.json"
ENDED = ("completed", "failed", "partial")
LOOK = 2.0  # seconds between looks at jobs that other processes run


def write_script(
    sweep: Path, jobs: Sequence[Job], tasks: int, options: Mapping[str, Any], directory: Sequence[str] = ()
) -> Path:
    """Write the array's script.

    `options` are those of sbatch by their long names, null for one without a value; `directory` the words of the
    command line for a folder of configurations.
    """
    folder = sweep / FOLDER
    make_folder(folder, setting="output_root")
    listed = {}
    for job in jobs:
        run = QuotedString(str(job.folder), Quote.single).with_quotes()
        single = ("hydra.mode=RUN", "hydra.sweeper.params=null", f"hydra.run.dir={run}")
        started = facts_of(job.folder).get("started") if RunDirectory(job.folder).state in ENDED else None
        listed[str(job.number)] = [str(job.folder), started, [*directory, *job.overrides, *single]]
    write_json(folder / JOBS, listed)
    output = shlex.quote(str(folder.resolve() / "%a.log"))
    given = {"array": f"0-{min(tasks, len(jobs)) - 1}", "output": output, "open-mode": "append", **options}
    lines = [
        "#!/bin/sh",
        *(f"#SBATCH --{name}" if value is None else f"#SBATCH --{name}={value}" for name, value in given.items()),
        f"cd {shlex.quote(os.getcwd())} || exit 1",
        f"exec {shlex.join([sys.executable, '-m', 'dovision.cli.array_task', str(sweep)])} ${{SLURM_ARRAY_TASK_ID:-0}}",
    ]
    write_text(folder / "array.sh", "\n".join(lines) + "\n")
    return folder / "array.sh"


def claims(sweep: Path, task: int) -> Iterator[tuple[Path, list[str]]]:
    """Yield run directory, and arguments of dovision-evaluate, of a job that is left and that no other process runs.

    A job is claimed by the lock of its run directory, held while it is run, so that of two tasks that choose the same
    one the second skips it. Tasks begin at different jobs. A task without a job waits until a lease of a dead one could
    have been taken over, and then leaves.
    """
    jobs = list(read_json(sweep / FOLDER / JOBS).values())
    jobs = jobs[task % len(jobs) :] + jobs[: task % len(jobs)]
    since = time.monotonic()
    while jobs and time.monotonic() - since < locking.LEASE + 2 * locking.HEARTBEAT:
        jobs = [job for job in jobs if not _has_ended(Path(job[0]), job[1])]
        free = next((job for job in jobs if RunDirectory(job[0]).state != "running"), None)
        if free is None:
            time.sleep(LOOK)
            continue
        yield Path(free[0]), free[2]
        if RunDirectory(free[0]).state != "running":  # else another task was first
            jobs.remove(free)
        since = time.monotonic()
    if jobs:
        log.info("%d jobs are run by other processes", len(jobs))


def _has_ended(run: Path, started: str | None) -> bool:
    """Return whether a run has ended, other than the one that had `started` before the script was written."""
    return RunDirectory(run).state in ENDED and facts_of(run).get("started") != started
