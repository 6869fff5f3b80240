"""The identity of a job: what its numbers depend on, by content, decided once, at the door of every command."""
