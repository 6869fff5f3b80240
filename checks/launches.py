"""Two and three launches of overlapping sweeps at once, some of them killed: is a job lost, wrong, or measured twice?

    python checks/launches.py --quick      4 trials, some minutes
    python checks/launches.py              30 trials

In each trial the launches begin together in one output root, each with a part of the jobs, in an order and under a
launcher of its own; in every other trial the file system has no locks. When the jobs have come to a random batch, a
launch or a worker is killed, or gets SIGTERM or Ctrl-C. Then each command is given again, one after the other. Counted
over the trials are:

    lost     jobs that no command completes
    wrong    jobs that say that they are completed, and are not to the byte what one undisturbed sweep wrote
    twice    jobs that two processes were at work on at once, or that were completed more than once
    lied     commands that ended with exit code 0 without all of their jobs completed, or the other way round

The check passes if all four are 0. Commands are forked from a process that has the package in memory.
"""

from __future__ import annotations

import argparse
import errno
import fcntl
import itertools
import json
import multiprocessing
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import NamedTuple

from dovision.cli.evaluate import evaluate_effects as undisturbed_evaluate
from dovision.cli.hydra_main import hydra_main
from dovision.config.settings import EvaluateSettings
from dovision.evaluation.effects import EffectEvaluation
from dovision.io import locking

SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["launches"])
ROWS, COLUMNS, BATCHES = (1, 2, 3, 4), (1, 2), 3
SETTINGS = (
    "dataset=digits",
    "training.classifier.epochs=1",
    "evaluation.images=12",
    "evaluation.num_thumbnails=2",
    "threads=1",
)
SETTINGS += ("evaluation.batch_size=4", "evaluation.checkpoint_every=4", "attack=fgsm", "attack.eps=0.1")
LAUNCHERS = {"basic": (), "joblib": ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")}
TABLES = ("samples.parquet", "effects.parquet", "summary.json")
PAUSE = 0.2  # seconds that a batch takes at least, so that launches meet
TRIES = 3  # of each command, after the disturbed launches
PATIENCE = 600.0  # seconds for a command
FAULTS = ("SIGKILL the launch", "SIGKILL a worker", "SIGTERM", "Ctrl-C")
JOURNAL, LEASES = "LAUNCHES_JOURNAL", "LAUNCHES_LEASES"  # environment of a command


class Plan(NamedTuple):
    """A launch of a trial, and what happens to it when all launches together have begun so many batches."""

    rows: tuple[int, ...]
    launcher: str
    fault: str
    batch: int

    @property
    def jobs(self) -> set[tuple[int, int]]:
        return set(itertools.product(self.rows, COLUMNS))


class Outcome(NamedTuple):
    lost: int
    wrong: int
    twice: int
    lied: int
    faults: int  # that happened


def main() -> int:
    """Run the trials, print what came of them, and return 1 if a job was lost, wrong or measured twice."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="4 trials")
    parser.add_argument("--trials", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="for the runs and logs, which are kept")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = asked.folder or Path(folder)
        root.mkdir(parents=True, exist_ok=True)
        total = trials(root, 4 if asked.quick else asked.trials, asked.seed)
    print(", ".join(f"{count} {name}" for name, count in total.items()))
    return int(any(total[name] for name in ("lost", "wrong", "twice", "lied")))


def trials(root: Path, count: int, seed: int) -> Counter[str]:
    """So many trials, with two and with three launches in turn."""
    undisturbed = root / "undisturbed"
    undisturbed.mkdir()
    everything = Plan(ROWS, "basic", "", 0)
    assert finished(start(undisturbed, everything, leases=False)) == 0, (undisturbed / "log").read_text()
    total = Counter[str](dict.fromkeys(("trials", "launches", *Outcome._fields), 0))
    draw = random.Random(seed)
    for number in range(count):
        plans = [drawn(draw) for _ in range(2 + number % 2)]
        leases = number % 4 > 1
        outcome = trial(root / str(number), undisturbed, plans, leases)
        print(number, "leases" if leases else "locks", *plans, outcome, flush=True)
        total.update(outcome._asdict(), trials=1, launches=len(plans))
    return total


def drawn(draw: random.Random) -> Plan:
    """A launch at random; three in four are disturbed."""
    rows = draw.sample(ROWS, draw.randint(2, len(ROWS)))
    fault = draw.choice(FAULTS) if draw.random() < 0.75 else ""
    batch = draw.randrange(BATCHES * len(ROWS) * len(COLUMNS))
    return Plan(tuple(rows), draw.choice(list(LAUNCHERS)), fault, batch)


def trial(root: Path, undisturbed: Path, plans: Sequence[Plan], leases: bool) -> Outcome:
    """Launches at once, and then each command again, until it says that all is completed."""
    root.mkdir()
    (root / "checkpoints").symlink_to(undisturbed / "checkpoints")
    processes = {start(root, plan, leases): plan for plan in plans}
    faults = disturb(root, processes)
    lied = 0
    for process, plan in processes.items():
        code = finished(process)
        lied += code == 0 and not plan.jobs <= completed(root)
    found = wrong(root, undisturbed)
    for plan in plans:
        for _ in range(TRIES):
            code = finished(start(root, plan, leases))
            lied += (code == 0) != (plan.jobs <= completed(root))
            if code == 0:
                break
    found |= wrong(root, undisturbed)
    jobs = set().union(*(plan.jobs for plan in plans))
    return Outcome(len(jobs - completed(root)), len(found), len(twice(root)), lied, faults)


def disturb(root: Path, processes: Mapping[ForkServerProcess, Plan]) -> int:
    """Let the faults of the launches happen when their batches have come; return how many did."""
    happened, pending = 0, {process: plan for process, plan in processes.items() if plan.fault}
    while pending and any(process.is_alive() for process in processes):
        lines = journal(root)
        begun = [line for line in lines if line["what"] == "begin"]
        for process, plan in list(pending.items()):
            if len(begun) > plan.batch:
                del pending[process]
                happened += process.is_alive() and strike(process, plan.fault, begun[-1]["process"])
        time.sleep(0.05)
    return happened


def strike(process: ForkServerProcess, fault: str, worker: int) -> bool:
    """Let a fault happen to a launch, or to the process that has begun the last batch; whether it did."""
    assert process.pid is not None
    try:
        if fault == "Ctrl-C":
            os.killpg(process.pid, signal.SIGINT)  # as a terminal sends it
        elif fault == "SIGTERM":
            os.kill(process.pid, signal.SIGTERM)
        else:
            os.kill(worker if fault == "SIGKILL a worker" else process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def start(root: Path, plan: Plan, leases: bool) -> ForkServerProcess:
    """Begin dovision-evaluate on the jobs of a launch; what it says goes to the end of a file."""
    rows, columns = (",".join(map(str, values)) for values in (plan.rows, COLUMNS))
    arguments = ["-m", f"output_root={root}", *SETTINGS, f"intervention.rows={rows}", f"intervention.columns={columns}"]
    environment = {"OMP_NUM_THREADS": "1", JOURNAL: str(root / "journal"), LEASES: "1" if leases else ""}
    process = SERVER.Process(target=run, args=([*arguments, *LAUNCHERS[plan.launcher]], environment, root / "log"))
    process.start()
    return process


def finished(process: ForkServerProcess) -> int | None:
    """The exit code of a command; None if it hangs, and is killed."""
    process.join(PATIENCE)
    if process.exitcode is None:
        process.kill()
        print(f"process {process.pid} has not ended")
    return process.exitcode


def run(arguments: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
    """Be dovision-evaluate, in a group of processes of its own."""
    os.setsid()
    os.environ.update(environment)
    here = str(Path(__file__).parent)
    os.environ["PYTHONPATH"] = os.pathsep.join([here, os.environ.get("PYTHONPATH", "")])  # of workers
    sys.argv = ["dovision-evaluate", *arguments]
    with log.open("a") as file:
        os.dup2(file.fileno(), sys.stdout.fileno())
        os.dup2(file.fileno(), sys.stderr.fileno())
    signal.signal(signal.SIGINT, signal.default_int_handler)
    _refuse_locks()
    try:
        hydra_main("evaluate", evaluate)()
    finally:
        if "joblib" in sys.modules:  # its workers live on for minutes where no interpreter ends
            from joblib.externals.loky import get_reusable_executor

            get_reusable_executor(reuse=True).shutdown(kill_workers=True)


def evaluate(settings: EvaluateSettings) -> None:
    """Measure a job, and write each batch to the journal; also in a launcher's worker."""
    _refuse_locks()
    plain = EffectEvaluation.measure
    job = {name: int(settings.intervention[name]) for name in ("rows", "columns")}

    def evaluated(self: EffectEvaluation, *arguments: object) -> None:
        _note(job, "begin")
        time.sleep(PAUSE)
        plain(self, *arguments)  # type: ignore[arg-type]
        _note(job, "end")

    EffectEvaluation.measure = evaluated  # type: ignore[method-assign]
    try:
        undisturbed_evaluate(settings)
    finally:
        EffectEvaluation.measure = plain  # type: ignore[method-assign]


def _note(job: Mapping[str, int], what: str) -> None:
    line = json.dumps({**job, "what": what, "process": os.getpid(), "time": time.monotonic()})
    with open(os.environ[JOURNAL], "a") as file:
        file.write(line + "\n")


def _refuse_locks() -> None:
    """Behave as on a file system without locks, if the trial says so."""

    def flock(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    if os.environ[LEASES]:
        fcntl.flock = flock  # type: ignore[assignment]
        locking.LEASE, locking.HEARTBEAT = 20.0, 1.0


def journal(root: Path) -> list[dict[str, object]]:
    """What the batches of all launches have noted, whole lines only."""
    path = root / "journal"
    text = path.read_text() if path.exists() else ""
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]


def states(root: Path) -> dict[tuple[int, int], tuple[Path, str]]:
    """The folder of each job that has a run.json, and the state that it names."""
    found = {}
    for path in root.glob("evaluate/*/run.json"):
        record = json.loads(path.read_text())
        values = dict(override.split("=", 1) for override in record["overrides"])
        job = int(values["intervention.rows"]), int(values["intervention.columns"])
        found[job] = path.parent, record["state"]
    return found


def completed(root: Path) -> set[tuple[int, int]]:
    """The jobs that are completed."""
    return {job for job, (_, state) in states(root).items() if state == "completed"}


def wrong(root: Path, undisturbed: Path) -> set[tuple[int, int]]:
    """The jobs that are completed, and not of the bytes of the undisturbed sweep."""
    whole = states(undisturbed)
    return {
        job
        for job, (folder, state) in states(root).items()
        if state == "completed"
        and any((folder / name).read_bytes() != (whole[job][0] / name).read_bytes() for name in TABLES)
    }


def twice(root: Path) -> set[tuple[int, int]]:
    """The jobs that were completed more than once, or that two processes were at work on at once."""
    again = {
        job
        for job, (folder, _) in states(root).items()
        if (folder / "run.log").exists() and (folder / "run.log").read_text().count("] completed in") > 1
    }
    batches: defaultdict[tuple[int, int], list[tuple[float, float, int]]] = defaultdict(list)
    begun: dict[tuple[object, ...], float] = {}
    for line in journal(root):
        job, process, now = (int(line["rows"]), int(line["columns"])), int(line["process"]), float(line["time"])  # type: ignore[call-overload, arg-type]
        if line["what"] == "begin":
            begun[job, process] = now
        else:
            batches[job].append((begun[job, process], now, process))
    for job, spans in batches.items():
        pairs = itertools.combinations(spans, 2)
        if any(a[2] != b[2] and a[0] < b[1] and b[0] < a[1] for a, b in pairs):
            again.add(job)
    return again


if __name__ == "__main__":
    from launches import main as imported  # under its own name, by which workers know it

    sys.exit(imported())
