"""Which keys are held by fingers: every strike is a hold, and a key is up when the last one is released."""

from collections import defaultdict


class Holds:
    """Counts holds of keys, by channel and track.

    A release ends a hold of its own track; if that has none, one of the first track that has one on the
    channel, as a synthesizer does, which knows no tracks. A release of what is not held changes nothing.
    """

    def __init__(self) -> None:
        # By channel and key, how many holds each track has.
        self._holds: defaultdict[tuple[int, int], dict[int, int]] = defaultdict(dict)
        self._keys: defaultdict[int, int] = defaultdict(int)

    def strike(self, channel: int, key: int, track: int = 0) -> None:
        """One hold more."""
        by_track = self._holds[channel, key]
        by_track[track] = by_track.get(track, 0) + 1
        self._keys[key] += 1

    def release(self, channel: int, key: int, track: int = 0) -> bool:
        """One hold less; says whether there was one."""
        by_track = self._holds.get((channel, key))
        if not by_track:
            return False
        track = track if track in by_track else min(by_track)
        by_track[track] -= 1
        if not by_track[track]:
            del by_track[track]
        self._keys[key] -= 1
        return True

    def release_channel(self, channel: int) -> list[int]:
        """No hold on a channel any more; returns its keys."""
        keys = sorted(key for at, key in self._holds if at == channel and self._holds[at, key])
        for key in keys:
            self._keys[key] -= sum(self._holds.pop((channel, key)).values())
        return keys

    def release_track(self, track: int) -> list[tuple[int, int]]:
        """No hold of a track any more; returns their channels and keys."""
        found = sorted(place for place, by_track in self._holds.items() if track in by_track)
        for channel, key in found:
            self._keys[key] -= self._holds[channel, key].pop(track)
        return found

    def on_channel(self, channel: int, key: int) -> bool:
        """Whether a key is held on a channel."""
        return bool(self._holds.get((channel, key)))

    def held(self, key: int) -> bool:
        """Whether a key is held at all."""
        return self._keys[key] > 0
