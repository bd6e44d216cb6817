"""The commands of the pipeline: one module per DVC stage, thin over the library `diffsynth`."""
