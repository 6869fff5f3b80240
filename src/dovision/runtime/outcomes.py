"""Ends of a job other than completion."""

from __future__ import annotations


class JobFailed(Exception):
    """A job is not completed, has logged so, and has left the reason in its run directory."""


class ImagesLost(Exception):
    """Some images were not measured, so that the run is partial."""
