"""What tests of the benchmark read: its performances and its tables."""

import csv

SECONDS = 8  # two segments each
NAMES = ["music_12", "music_3"]


def table(path):
    """Rows of a CSV file."""
    with open(path, newline="") as file:
        return list(csv.DictReader(file))
