"""Options of reading MIDI files, apart from the reader so that commands can name them without NumPy."""

PROGRAMS = ("all", "piano")  # which instruments are played
