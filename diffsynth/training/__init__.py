"""The trainer, its batches, checkpoints and streamed validation."""
