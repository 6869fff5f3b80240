"""Datasets: each is one file with a class that fulfils `interfaces.Images`."""
