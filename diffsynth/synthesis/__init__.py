"""Voices, the streaming engine, rendering and export."""
