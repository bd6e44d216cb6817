"""What says only how this machine works: options of commands, with defaults from the environment.

None of it is a parameter, so that DVC runs nothing again where it changes. Processes, connections and
checkpoints change no result. The number of threads changes the order in which sums are added, and with
it the last digits of what is trained.
"""

import os
from typing import Annotated

import typer

MOST = 8  # processes by default; each holds a piece of music and its spectra
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
WORKERS = min(MOST, CORES)
CONNECTIONS = 4
TRAINING_THREADS, RENDERING_THREADS = 2, 1
CHECKPOINT_EVERY = 100
LOADERS = 0  # a batch takes 10 ms, a step five times as long: on few cores the network needs all of them

Workers = Annotated[int, typer.Option(min=1, envvar="DIFFSYNTH_WORKERS", help="Processes.")]
Cluster = Annotated[
    str | None,
    typer.Option(
        envvar="DIFFSYNTH_CLUSTER",
        help="Dask scheduler (tcp://HOST:8786) whose workers do the work, in place of processes here.",
    ),
]
Connections = Annotated[
    int, typer.Option(min=1, envvar="DIFFSYNTH_CONNECTIONS", help="Files fetched at once.")
]
Threads = Annotated[
    int, typer.Option(min=1, envvar="DIFFSYNTH_THREADS", help="Threads; rounding depends on them.")
]
CheckpointEvery = Annotated[
    int, typer.Option(min=1, envvar="DIFFSYNTH_CHECKPOINT_EVERY", help="Steps between checkpoints.")
]
Loaders = Annotated[
    int,
    typer.Option(
        "--workers", min=0, envvar="DIFFSYNTH_LOADERS", help="Processes that prepare batches; 0: none."
    ),
]
Device = Annotated[
    str,
    typer.Option(envvar="DIFFSYNTH_DEVICE", help="auto (a GPU if there is one), cpu, cuda or cuda:N."),
]
Precision = Annotated[
    str,
    typer.Option(
        envvar="DIFFSYNTH_PRECISION",
        help="Of products: float32, bfloat16, fastest (measured), auto (float32 on a CPU, fastest on a GPU).",
    ),
]
