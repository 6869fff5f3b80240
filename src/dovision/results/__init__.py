"""Run directories as they are read: their tables, numbers with intervals, findings."""
