"""`diffsynth transcribe`: recordings of a piano into the MIDI that `dataset.name: folder` expects."""

from pathlib import Path
from typing import Annotated

import typer

from pipeline import paths
from pipeline.machine import CORES, WORKERS, Workers


def transcribe(
    places: Annotated[
        list[Path], typer.Argument(metavar="FOLDER_OR_FILE...", help="Recordings of a solo piano.")
    ],
    out: Annotated[
        Path | None, typer.Option(help="Folder for the MIDI files. Default: beside the recordings.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Write MIDI files that exist again, whoever made them.")
    ] = False,
    report: Annotated[
        Path, typer.Option(help="Folder of the tables and the plot.")
    ] = paths.TRANSCRIPTION_RESULTS,
    workers: Workers = WORKERS,
) -> None:
    """Write down recordings of a solo piano as MIDI: notes, velocities and pedals (extra transcription).

    NAME.mid appears beside each NAME.wav, .flac, .ogg, ... that has none. It takes 2 to 3.5 s of a core per
    second of audio; an interrupted command goes on with the recordings that are missing.
    """
    from diffsynth.datasets.manifest import require_some
    from diffsynth.transcription.recordings import find_recordings, transcribe_all

    found = find_recordings(places, out, force)
    where = ", ".join(map(str, places))
    require_some(found.todo + found.done + found.own, found.set_aside, where, "recording")
    written, failed = transcribe_all(found.todo, workers, max(CORES // min(workers, len(found.todo) or 1), 1))
    require_some([*written, *found.done, *found.own], failed, where, "recording")
    for item in [*found.set_aside, *failed]:
        typer.echo(f"left out {item.name}: {item.reason}", err=True)
    if found.own:
        typer.echo(f"{len(found.own)} with MIDI of their own left as they are (see --force)", err=True)
    known = [*found.done, *written]
    if known:
        from diffsynth.transcription.report import all_keys, line_of, line_of_keys, write_report

        write_report(known, report)
        for each in known:
            typer.echo(line_of(each.entry))
        typer.echo(line_of_keys(all_keys(known)))
