"""Memory that a process can still have: of the machine, and under the limit of its control group."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath


def available_memory(root: Path = Path("/")) -> int | None:
    """Bytes that can be had without swapping, the page cache among them; None where the system does not say.

    The least of what Linux reports as available, and of the room under the limits of the control groups that the
    process is in, of either version.

    Args:
        root: folder that holds proc and sys.
    """
    machine = _fields(root / "proc/meminfo").get("MemAvailable:")
    found = [] if machine is None else [machine * 1024]
    return min([*found, *_rooms(root)], default=None)


def _rooms(root: Path) -> Iterator[int]:
    """Bytes left under the limit of each control group, from the process's own up."""
    groups = root / "sys/fs/cgroup"
    for line in _lines(root / "proc/self/cgroup"):
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        folder, limit, usage, cache = (
            (groups / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
            if controllers
            else (groups, "memory.max", "memory.current", "inactive_file")
        )
        own = PurePosixPath(path.lstrip("/"))
        for each in (own, *own.parents):
            most, used = _number(folder / each / limit), _number(folder / each / usage)
            if most is not None and used is not None:
                yield max(0, most - used + _fields(folder / each / "memory.stat").get(cache, 0))


def _number(path: Path) -> int | None:
    """The number in a file; None where there is none, as of a group without a limit."""
    text = "".join(_lines(path)).strip()
    return int(text) if text.isdecimal() else None


def _fields(path: Path) -> dict[str, int]:
    """The numbers of a file of names and numbers, by name."""
    rows = (line.split() for line in _lines(path))
    return {row[0]: int(row[1]) for row in rows if len(row) > 1 and row[1].isdecimal()}


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
