"""The command line: `diffsynth COMMAND`, one command per stage of dvc.yaml, and what plays a voice."""

import errno
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from difflib import get_close_matches
from importlib import import_module
from io import TextIOWrapper
from typing import Any

import typer
from typer.core import TyperGroup

from diffsynth import __version__
from diffsynth.errors import UserError, printable
from diffsynth.runs.caches import private_folder, user_caches_can_be_written

COMMANDS = {
    "download": "Bring the performances: the demo, MAESTRO, a folder of your own, or rendered ones.",
    "align": "Match the MIDI events of every performance to its audio.",
    "shard": "Cut the aligned performances into samples for training.",
    "fit": "Fit the modal excitation to the aligned performances.",
    "features": "Compute what the models learn: band gains relative to the excitation.",
    "bounds": "Render and measure what models lie between: nothing learned, all gains right.",
    "train": "Train one model at one block size.",
    "infer": "Render the test performances block by block, and time it.",
    "evaluate": "Measure the renders against the recordings.",
    "compare": "Tabulate and plot all models and block sizes.",
    "transcribe": "Write down recordings of a piano as MIDI, to learn from them.",
    "salamander": "Bring a sampled concert grand to render training data with.",
    "listen": "Rate what was rendered by ear, blind, in the browser.",
    "render": "Play a MIDI file into an audio file.",
    "play": "Play live: a MIDI keyboard or file to the sound card.",
    "bench": "Measure how fast every model is, beside the published network.",
    "benchmark": "Measure voices beside other systems on recordings of your own.",
    "export": "Write a voice as an ONNX file for other hosts.",
}
# NumPy's products are small or run in several processes, where threads only wait for each other; and
# waiting threads of torch sleep instead of taking the core from those that work (a small step beside a
# busy neighbour: p99 141 to 14 ms). torch's own number of threads is a parameter of each stage.
THREADS = {"OPENBLAS_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "0"}
INTERRUPTED = 130  # what Typer makes of Ctrl-C
# The system's refusals that a message explains better than a traceback.
REFUSALS = (
    *(errno.EACCES, errno.EPERM, errno.EROFS),
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.ENAMETOOLONG),
)


class LazyGroup(TyperGroup):
    """Commands that are imported when they are asked for, so that `diffsynth --help` is quick."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002
        """Names of all commands."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002
        """The command, made of the function `pipeline.<name>.<name>`; None if there is none."""
        if cmd_name not in COMMANDS:
            return None
        single = typer.Typer(add_completion=False, rich_markup_mode=None)
        single.command(cmd_name)(getattr(import_module(f"pipeline.{cmd_name}"), cmd_name))
        return typer.main.get_command(single)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that the first word names.

        Raises:
            UserError: there is none; says which name is nearest.
        """
        if args and self.get_command(ctx, args[0]) is None and not args[0].startswith("-"):
            near = get_close_matches(args[0], COMMANDS, n=1)
            hint = f"did you mean {near[0]}?" if near else "see diffsynth --help"
            raise UserError(f"there is no command {args[0]!r}: {hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002
        """Write the list of commands without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


app = typer.Typer(
    cls=LazyGroup,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def diffsynth(
    version: bool = typer.Option(False, "--version", help="Show the version.", callback=_print_version),
) -> None:
    """MIDI to piano audio, by block diffusion, and the pipeline that trains it.

    `dvc repro` runs all stages in the order below; each also stands alone.
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and leave with its exit code: 2 for wrong input, 130 if interrupted.

    Args:
        arguments: those after the program's name; by default the process's own.
    """
    for name, value in THREADS.items():
        os.environ.setdefault(name, value)
    if not user_caches_can_be_written():  # or Matplotlib would warn, and search for fonts in every process
        with suppress(OSError):
            os.environ.setdefault("MPLCONFIGDIR", str(private_folder() / "matplotlib"))
    # Ending like Ctrl-C lets commands remove what they have half written.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    _prepare_streams()
    arguments = sys.argv[1:] if arguments is None else arguments
    sys.exit(run(list(arguments) or ["--help"]))


def _prepare_streams() -> None:
    """Let any name be shown on any terminal, and progress bars be drawn where there is none."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by the calling process
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115  until the process ends
        elif isinstance(stream := getattr(sys, name), TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def run(arguments: list[str]) -> int:
    """Exit code of a command; what stopped it is one line on stderr."""
    try:
        code = app(arguments, prog_name="diffsynth", standalone_mode=False) or 0
        return _fail("interrupted", code) if code == INTERRUPTED else code
    except UserError as error:
        return _fail(str(error), 2)
    except typer.TyperException as error:
        context = getattr(error, "ctx", None)
        command = context.command_path if context else "diffsynth"
        return _fail(f"{error.format_message()} (see {command} --help)", 2)
    except OSError as error:
        if error.errno not in REFUSALS:
            raise
        return _fail(str(error), 2)
    except MemoryError as error:
        return _fail(f"there is not enough memory: {error or 'choose smaller numbers'}", 2)
    except UnicodeEncodeError as error:
        # Some libraries take only paths that are text, safetensors among them.
        if error.reason != "surrogates not allowed":
            raise
        return _fail(f"{printable(str(error.object))} is not UTF-8: rename the file or folder", 2)


def _fail(message: str, code: int) -> int:
    typer.echo(f"diffsynth: {' '.join(message.split())}", err=True)
    return code
