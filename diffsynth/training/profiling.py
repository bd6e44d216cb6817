"""Where the time of training goes: a few steps under PyTorch's profiler."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from torch.profiler import ProfilerActivity, profile, schedule

from diffsynth.runs.files import atomic_path

SKIPPED, PROFILED = 5, 10  # steps: the first ones allocate memory and choose kernels
ROWS = 40


@contextmanager
def profiled_steps(folder: Path, gpu: bool) -> Iterator[Callable[[], None]]:
    """Profile steps 6 to 15 while it lasts; yields what is to be called after every step.

    Writes a table by operator, `profile.txt`, and what chrome://tracing and Perfetto show, `trace.json`;
    nothing if there are fewer steps.

    Args:
        folder: to write to.
        gpu: whether kernels of a GPU are to be seen as well.
    """

    def write(found: profile) -> None:
        table = found.key_averages().table(
            sort_by=f"self_{'cuda' if gpu else 'cpu'}_time_total", row_limit=ROWS, max_name_column_width=50
        )
        with atomic_path(folder / "profile.txt") as temporary:
            temporary.write_text(f"{PROFILED} steps of training\n{table}\n", encoding="utf8")
        with atomic_path(folder / "trace.json") as temporary:
            found.export_chrome_trace(str(temporary))

    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if gpu else [])]
    plan = schedule(wait=SKIPPED - 1, warmup=1, active=PROFILED, repeat=1)
    with profile(activities=activities, schedule=plan, on_trace_ready=write, acc_events=True) as running:
        yield running.step
