"""Seeded performances: scores, textures, expression and pedalling for rendered training data."""
