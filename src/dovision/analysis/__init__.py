"""Tables made from the tables of runs, without drawing."""
