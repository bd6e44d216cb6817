"""Data sources: generated and typed-in performances, the SoundFont renderer, the datasets."""
