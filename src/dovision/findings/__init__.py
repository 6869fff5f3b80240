"""Headline numbers and findings in plain sentences, made from the tables of runs and read by every outlet."""
