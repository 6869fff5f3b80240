"""Ends of a job other than completion."""

from __future__ import annotations


class JobFailed(Exception):
    """A job has failed, logged its error, and recorded why; the argument is its folder."""

    exit_code = 1  # of the command


class PartialRun(Exception):
    """Raised if some images or attacks were not measured."""
