"""MAESTRO, by byte ranges out of its archive or from a local copy."""
