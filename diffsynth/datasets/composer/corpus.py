"""What `dataset.name: rendered` plays where no MIDI files are given: music, scores and single keys.

The corpus is an endless list of performances, cut after the wanted time. More minutes with the same seed add
performances and do not change the others; the number of processes changes nothing.
"""

from collections.abc import Iterator

from diffsynth.datasets.composer.generator import every_key
from diffsynth.datasets.composer.repertoire import improvise, interpret
from diffsynth.datasets.composer.score import HELD_BACK, PIECES, read_piece
from diffsynth.datasets.rendered import Job
from diffsynth.datasets.soundfont import TAIL
from diffsynth.datasets.splits import assign_splits
from diffsynth.errors import UserError

PERFORMANCE = 60.0  # s of generated music in one performance
SAMPLER = 300.0  # s that a performance of single keys takes, about
SHORTEST = 10.0  # s of a performance worth rendering
ROUND = 45  # performances of generated music between two rounds of scores and single keys
SEEDS = 1_000_000  # performances of one `dataset.seed`: the next seed shares none with it


def generated_jobs(minutes: float, validation: float, test: float, seed: int) -> list[Job]:
    """Performances that last so many minutes in all, or somewhat longer, by name.

    From ten minutes on every key by itself comes first, in train, and about every hour holds single
    keys in another way and each of the public-domain scores in a new manner, about 5 minutes of each.

    Args:
        minutes: of music.
        validation: share of performances of generated music, as is `test`.
        test: see `validation`.
        seed: of the music and of the division into splits.

    Raises:
        UserError: the time is too short for three performances.
    """
    seconds = minutes * 60
    if seconds < 3 * SHORTEST:
        raise UserError(f"dataset.minutes must be at least {3 * SHORTEST / 60:g}, not {minutes:g}")
    if seconds < 2 * SAMPLER:
        count = max(3, round(seconds / PERFORMANCE))
        jobs = [_music(seed, i, min(PERFORMANCE, seconds / count)) for i in range(count)]
    else:
        jobs = list(_cut(_endless(seed), seconds))
    music = [job.name for job in jobs if not job.split]
    splits = dict(zip(music, assign_splits(music, validation, test, seed), strict=True))
    jobs = [Job(job.name, job.split or splits[job.name], job.events, job.title) for job in jobs]
    return sorted(jobs, key=lambda job: job.name)


def _cut(jobs: Iterator[Job], seconds: float) -> Iterator[Job]:
    """The first jobs, until their total length is reached."""
    while seconds > PERFORMANCE / 2:
        job = next(jobs)
        seconds -= float(job.events["time"][-1]) + TAIL
        yield job


def _endless(seed: int) -> Iterator[Job]:
    """All jobs of a seed, in order; those of generated music have no split yet."""
    turn = 0
    while True:
        yield _keys(seed, turn)
        for i in range(ROUND):
            yield _music(seed, ROUND * turn + i)
        for piece in PIECES:
            yield _piece(seed, turn, piece)
        turn += 1


def _music(seed: int, number: int, length: float = PERFORMANCE) -> Job:
    seed = SEEDS * seed + number
    return Job(f"music_{number:05d}", "", improvise(seed, length - TAIL), f"Generated music, seed {seed}")


def _piece(seed: int, turn: int, piece: str) -> Job:
    """A score, all of whose performances are in one split."""
    score, seed = read_piece(piece), SEEDS * seed + turn
    title = f"{score.title}, seed {seed}"
    return Job(f"{piece}_{turn:03d}", HELD_BACK.get(piece, "train"), interpret(score, seed), title)


def _keys(seed: int, turn: int) -> Job:
    """Single keys: at three velocities, then once but for a long time, then at all velocities, and again."""
    layers, stretch, how = (
        (((15, 49), (50, 84), (85, 120)), 1.0, "at three velocities"),
        (((40, 127),), 4.0, "held long"),
        (((1, 42), (43, 84), (85, 127)), 1.0, "from the softest to the loudest"),
    )[turn % 3]
    events = every_key(SEEDS * seed + turn, layers, stretch)
    return Job(f"keys_{turn:03d}", "train", events, f"Every key by itself, {how}, seed {SEEDS * seed + turn}")
