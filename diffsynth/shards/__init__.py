"""Aligned performances as webdataset shards."""
