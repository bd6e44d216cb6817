"""MAESTRO, fetched from its archive by byte ranges, or taken from a local copy."""
