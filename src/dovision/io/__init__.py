"""Files, whole or not there and nothing in them that runs; the process: its signals, memory and progress."""
