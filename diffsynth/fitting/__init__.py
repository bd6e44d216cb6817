"""Measuring a modal piano from aligned recordings."""
