"""`python -m pipeline`, the same as `diffsynth`."""

from pipeline.app import main

main()
