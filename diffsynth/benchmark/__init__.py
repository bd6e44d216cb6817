"""Voices beside other systems, on recordings of the user's own: quality, speed and delay of each."""
