"""The process and the machine: signals, process-wide state, progress."""
