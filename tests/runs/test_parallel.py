"""Jobs in processes of this machine: order, reuse, early ends, and what becomes of workers."""

import os
import signal
import time

import psutil
import pytest
from support.own_process import start_python

from diffsynth.errors import UserError
from diffsynth.runs.parallel import parallel_map

HEAD = """
import os, sys, time
from diffsynth.runs.parallel import parallel_map
def job(path):
    open(path, "w").write(str(os.getpid()))
    time.sleep({seconds})
    return path
"""


def square_and_process(number):
    time.sleep(0.02)
    return number**2, os.getpid()


def test_results_come_in_order_from_workers_that_are_used_again():
    first, second = (list(parallel_map(square_and_process, range(12), 2, "", progress=False)) for _ in "12")
    for results in (first, second):
        assert [square for square, _ in results] == [number**2 for number in range(12)]
    processes = {process for _, process in first + second}
    assert len(processes) == 2
    assert os.getpid() not in processes


def test_one_worker_is_this_process():
    results = list(parallel_map(square_and_process, range(3), 1, "", progress=False))
    assert results == [(number**2, os.getpid()) for number in range(3)]


def kill_itself(number):
    if number == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def test_a_killed_worker_is_one_line_and_the_next_call_works():
    with pytest.raises(UserError, match=r"^reading: a process was killed, .* try fewer --workers$"):
        list(parallel_map(kill_itself, range(4), 2, "reading", progress=False))
    assert list(parallel_map(abs, [-1, -2], 2, "", progress=False)) == [1, 2]


def wait_for(files, parent):
    while not all(file.is_file() and file.read_text() for file in files):
        assert parent.poll() is None
        time.sleep(0.01)
    return [psutil.Process(int(file.read_text())) for file in files]


@pytest.mark.parametrize("action", ["pass", "raise SystemExit(3)"])
def test_nothing_is_begun_after_an_early_end(tmp_path, action):
    (tmp_path / "begun").mkdir()
    files = [f"begun/{number:02}" for number in range(40)]
    code = (
        HEAD.format(seconds=0.05)
        + f"""
results = parallel_map(job, {files}, 2, "", progress=False)
try:
    print(next(results))
    {action}
finally:
    results.close()
    known = len(os.listdir("begun"))
    time.sleep(0.5)
    print(known == len(os.listdir("begun")), known < 20)
"""
    )
    child = start_python(code, tmp_path)
    output, _ = child.communicate(timeout=60)
    assert output == "begun/00\nTrue True\n"
    assert child.returncode == (3 if "raise" in action else 0)


@pytest.mark.parametrize("group", [False, True])
def test_ctrl_c_ends_parent_and_workers_at_once(tmp_path, group):
    files = [tmp_path / "1", tmp_path / "2"]
    code = (
        HEAD.format(seconds=60)
        + f"""
os.setsid()
try:
    list(parallel_map(job, {[*map(str, files)]}, 2, "", progress=False))
except KeyboardInterrupt:
    print("interrupted")
"""
    )
    parent = start_python(code, tmp_path)
    workers = wait_for(files, parent)
    (os.killpg if group else os.kill)(parent.pid, signal.SIGINT)
    output, _ = parent.communicate(timeout=30)
    assert output == "interrupted\n"
    _, alive = psutil.wait_procs(workers, timeout=30)
    assert alive == []


@pytest.mark.parametrize("busy", [True, False])
def test_workers_end_with_a_killed_parent(tmp_path, busy):
    files = [tmp_path / "1", tmp_path / "2"]
    code = (
        HEAD.format(seconds=60 if busy else 0.2)
        + f"""
print(list(parallel_map(job, {[*map(str, files)]}, 2, "", progress=False)), flush=True)
time.sleep(60)
"""
    )
    parent = start_python(code, tmp_path)
    workers = wait_for(files, parent)
    if not busy:
        assert "1" in parent.stdout.readline()
    parent.kill()
    parent.wait()
    _, alive = psutil.wait_procs(workers, timeout=30)
    assert alive == []


def test_what_clears_up_after_loky_does_not_warn(tmp_path):
    code = (
        HEAD.format(seconds=0)
        + f"""
from joblib.externals.loky.backend import resource_tracker
list(parallel_map(job, {[str(tmp_path / "1"), str(tmp_path / "2")]}, 2, "", progress=False))
resource_tracker.register("/loky-left-behind", "semlock")
"""
    )
    output, _ = start_python(code, tmp_path).communicate(timeout=60)
    assert output == ""
