"""What `diffsynth play` says when it ends."""

import re

SUMMARY = re.compile(
    r"(?P<seconds>[\d.]+) s played, load p50 (?P<p50>[\d.]+)% p99 (?P<p99>[\d.]+)% max [\d.]+%, "
    r"latency (?P<latency>[\d.]+) ms, (?P<missed>\d+) of (?P<blocks>\d+) blocks missed\n"
)
