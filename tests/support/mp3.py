"""MP3 files to take apart."""

import io

import soundfile

from diffsynth.audio.mp3 import frame_length


def mp3_bytes(samples, rate, mode):
    """An MP3 file as LAME makes it, of constant or variable bit rate."""
    file = io.BytesIO()
    options = {"compression_level": 0.5, "bitrate_mode": mode}
    soundfile.write(file, samples, rate, format="MP3", subtype="MPEG_LAYER_III", **options)
    return file.getvalue()


def frames_of(content):
    """Where every frame begins, that of the tag first."""
    places, place = [], 0
    while place < len(content):
        places.append(place)
        place += frame_length(int.from_bytes(content[place : place + 4], "big"))
    return places


def without_tag(content):
    """The file without its first frame, which tells the number of the others."""
    return content[frames_of(content)[1] :]
