"""Ends of a job other than completion."""

from __future__ import annotations


class JobFailed(Exception):
    """A job has failed, logged its error, and recorded the reason in its run directory."""


class ImagesLost(Exception):
    """Raised if some images were not measured; the run is partial."""
