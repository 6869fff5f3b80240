"""Many jobs of one command: composed and checked before the first starts, reported as they go, gathered at the end."""
