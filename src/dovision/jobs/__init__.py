"""The commands, and the jobs of a sweep: composed and checked before the first starts, each in a run of its own."""
