"""`diffsynth listen`: a blind listening test in the browser of this machine, and its results."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from diffsynth.config import choice
from diffsynth.errors import UserError
from pipeline import paths
from pipeline.stage import or_list, require

if TYPE_CHECKING:
    from diffsynth.listening.answers import AnswerBook

PARTS = ("mos", "mushra", "both")
PIANOS = ("another_piano", "excitation")  # that `bounds` renders
# Options of which another one makes nothing.
BESIDE_RESULTS = ("kind", "system", "clip", "seconds", "seed", "participants", "port", "show", "export")
BESIDE_EXPORT = ("seed", "participants", "port", "show", "out")  # webMUSHRA draws the orders itself


def listen(
    context: typer.Context,
    kind: Annotated[str, typer.Option(help=f"Which test: {or_list(PARTS)}.")] = PARTS[0],
    system: Annotated[
        list[str] | None,
        typer.Option(help="What to rate: NAME=FOLDER of NAME.wav, or a folder of the renders, as lstm-512."),
    ] = None,
    clip: Annotated[
        list[str] | None, typer.Option(help="Which performances: NAME, or NAME@SECONDS where it begins.")
    ] = None,
    seconds: Annotated[float, typer.Option(min=0.5, max=60.0, help="Longest that a clip is.")] = 10.0,
    seed: Annotated[int, typer.Option(min=0, help="Of the orders.")] = 0,
    participants: Annotated[int, typer.Option(min=1, help="The test ends when so many have finished.")] = 1,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Of the page; 0 takes a free one.")] = 0,
    show: Annotated[bool, typer.Option("--show", help="Open the page in the browser.")] = False,
    results: Annotated[bool, typer.Option("--results", help="Compute the results; no test.")] = False,
    screen: Annotated[
        bool, typer.Option("--screen", help="With --results: leave out whom BS.1534 leaves out.")
    ] = False,
    export: Annotated[
        Path | None, typer.Option(help="Folder to write the test to for webMUSHRA; no test.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder of the test and its ratings.")] = paths.LISTENING,
    aligned: Annotated[Path, typer.Option(help="Folder of the recordings.")] = paths.ALIGNED,
    renders: Annotated[Path, typer.Option(help="Folder of renders, by block and model.")] = paths.RENDERS,
) -> None:
    """Rate systems by ear, blind, in a page on this machine; or compute what was rated."""
    _check_options(context)
    choice("kind", kind, PARTS)
    from diffsynth.listening.answers import AnswerBook

    book = AnswerBook(out)
    if results:
        _report(book, screen)
        return
    require(aligned, "align")
    from diffsynth.listening.clips import REFERENCE, choose_clips
    from diffsynth.listening.design import KINDS, Design
    from diffsynth.listening.stimuli import digests, match_loudness, read_stimuli
    from diffsynth.listening.webmushra import CONFIG
    from diffsynth.runs.files import check_folder

    folders = {REFERENCE: aligned, **_systems(system or [], renders)}
    clips = choose_clips(clip or [], folders)
    design = Design(KINDS[kind], tuple(folders), tuple(each.label for each in clips), seconds, seed)
    if export is not None:
        check_folder(export, CONFIG)
    else:
        book.check(design)
    raw, rate = read_stimuli(folders, clips, seconds)
    stimuli, loudness = match_loudness(raw, rate)
    if export is not None:
        from diffsynth.listening.webmushra import export as write

        typer.echo(f"{write(export, design, stimuli, rate)}: copy {export}/ into webMUSHRA's folder configs")
        return
    from diffsynth.listening.server import ListeningServer
    from diffsynth.listening.session import Session

    try:
        with ListeningServer(port) as server:  # before anything is written: the port may be taken
            secret = book.open(design, digests(folders, clips), loudness)
            session = Session(book, design, stimuli, rate, secret, participants)
            typer.echo(f"{server.address} ({loudness:.1f} LUFS; ends by itself, or with Ctrl-C)")
            if show:
                import webbrowser

                webbrowser.open(server.address)
            server.run(session)
    except KeyboardInterrupt:  # a way to end it like another
        typer.echo(f"stopped; the ratings in {out} are kept, and the same command goes on", err=True)
    else:
        typer.echo(f"{out}: done; see `diffsynth listen --results`")


def _check_options(context: typer.Context) -> None:
    """Refuse what contradicts itself, before anything is read."""
    sources = {name: context.get_parameter_source(name) for name in context.params}
    given = {name for name, source in sources.items() if source is not None and source.name == "COMMANDLINE"}
    for one, others in (("results", BESIDE_RESULTS), ("export", BESIDE_EXPORT)):
        for other in others if one in given else ():
            if other in given:
                raise UserError(f"choose one of --{one} and --{other}")
    if "screen" in given and "results" not in given:
        raise UserError("--screen goes with --results")


def _systems(given: Sequence[str], renders: Path) -> dict[str, Path]:
    """Folders by name: those given, or all renders of models, of another piano and of the fitted one alone.

    Raises:
        UserError: one does not exist, or a name is given twice.
    """
    from diffsynth.listening.design import check_systems

    found = _found(renders)
    pairs = [word.partition("=") for word in given]
    names = [name for name, _, _ in pairs] if given else list(found)
    if not names:
        require(renders, "infer")
        raise UserError(f"{renders} holds no renders; name systems with --system NAME=FOLDER")
    check_systems(names)
    systems = dict(found)
    for name, separator, folder in pairs:
        if separator:
            systems[name] = Path(folder)
        if name not in systems:
            known = or_list(found) if found else "none"
            raise UserError(f"{renders} has no renders of {name} ({known}); give --system {name}=FOLDER")
        if not systems[name].is_dir():
            raise UserError(f"{systems[name]} is not a folder")
    return {name: systems[name] for name in names}


def _found(renders: Path) -> dict[str, Path]:
    """What is rendered: another piano, the fitted one alone, and every model at every block size."""
    bounds = {name: renders / paths.BOUNDS.name / name for name in PIANOS}
    numbered = [path for path in renders.glob("[0-9]*/*") if path.is_dir() and path.parent.name.isdecimal()]
    models = sorted(numbered, key=lambda path: (path.name, int(path.parent.name)))
    found = {**bounds, **{f"{path.name}-{path.parent.name}": path for path in models}}
    return {name: path for name, path in found.items() if path.is_dir()}


def _report(book: "AnswerBook", screen: bool) -> None:
    """Write and print the results of every part of the test."""
    from diffsynth.listening import statistics
    from diffsynth.listening.design import MUSHRA
    from diffsynth.listening.report import markdown, write_results
    from diffsynth.listening.stimuli import ANCHOR

    design = book.design()
    rated = statistics.ratings(book.everyone(design))
    doubtful = statistics.unreliable(rated)
    if doubtful:
        action = "left out" if screen else "kept; --screen leaves them out"
        typer.echo(
            f"diffsynth: often missed the hidden reference: {', '.join(doubtful)} ({action})", err=True
        )
    if screen:
        rated = [rating for rating in rated if rating.participant not in doubtful]
    if not rated:
        raise UserError(f"{book.folder} holds no page that somebody has finished")
    for kind in design.kinds:
        systems = [*design.systems, ANCHOR] if kind == MUSHRA else list(design.systems)
        part = [rating for rating in rated if rating.kind == kind]
        means, tests = statistics.means(part, systems), statistics.compare_all(part, systems)
        written = write_results(book.folder / "results", kind, part, means, tests)
        typer.echo(f"{kind}\n\n{markdown(means, tests)}")
        typer.echo(", ".join(map(str, written)))
