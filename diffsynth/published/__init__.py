"""The published system around its network: what it diffuses, what it is told, what it learns from.

Built as described, defects included, to be the baseline. Its training loop is not: networks are trained
by `diffsynth.training`, one and all.
"""
