"""Listening tests: what is heard, the page that asks, what was answered, and what follows from it."""
