"""Tables made from the tables of runs, without drawing.

`folder` is a run directory. FileNotFoundError, ValueError: a table in it is missing, damaged or of another format.
"""
