"""Audio files, formats and levels."""
