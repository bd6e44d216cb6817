"""What keeps long work safe: atomic files, processes, resuming, and MLflow runs."""
