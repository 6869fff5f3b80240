"""Ends of a job other than completion."""

from __future__ import annotations


class JobFailed(Exception):
    """A job has failed, logged its error, and recorded why; the argument is its folder."""

    exit_code = 1  # of the command


class ImagesLost(Exception):
    """Raised if some images were not measured; the run is partial."""
