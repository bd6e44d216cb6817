"""A Dask cluster in place of the processes of this machine, through joblib's own backend.

Nothing but jobs and results goes over the network: jobs read and write files. So the workers have to stand in
the same folder as the command, on a file system that all machines share, and run the same code.
"""

import os
import socket
from collections.abc import Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

from diffsynth.errors import UserError, to_install
from diffsynth.runs.resuming import library_digest

PATIENCE = 10.0  # s until a scheduler has to answer


@contextmanager
def on_cluster(address: str | None) -> Iterator[None]:
    """Run what `parallel_map` is given in the body on the workers of a cluster.

    Args:
        address: of a Dask scheduler, such as tcp://host:8786; None changes nothing.

    Raises:
        UserError: Dask is not installed, no scheduler answers there, it has no workers, or one of them stands
            in another folder or runs other code.
    """
    if address is None:
        yield
        return
    with _client(address) as client:
        _check_workers(client, address)
        from distributed import KilledWorker
        from joblib import parallel_config

        try:
            with parallel_config(_backend(client)):
                yield
        except (KilledWorker, CancelledError) as error:
            raise UserError(
                f"workers of {address} were lost: {error or 'the scheduler has ended'}"
            ) from error


def _client(address: str) -> Any:
    try:
        from distributed import Client
        from distributed.comm import get_address_host_port
    except ImportError as error:
        raise UserError(f"--cluster needs Dask: {to_install('cluster')}") from error
    try:
        # A client that never was connected waits once more at its end, and complains.
        socket.create_connection(get_address_host_port(address, strict=True), PATIENCE).close()
        return Client(address, timeout=PATIENCE, set_as_default=False)
    except (OSError, ValueError) as error:
        raise UserError(f"there is no Dask scheduler at {address}: {error}") from error


def _backend(client: Any) -> Any:
    from joblib._dask import DaskDistributedBackend

    class Backend(DaskDistributedBackend):
        """joblib's own, which says nothing of a job that was lost: the result was waited for for ever."""

        def submit(self, func: Any, callback: Any = None) -> Any:
            future = super().submit(func, callback)
            future.add_done_callback(lambda done: (error := done.exception()) and callback(error))
            return future

        def retrieve_result_callback(self, out: Any) -> Any:
            if isinstance(out, BaseException):  # what a job itself raises comes wrapped
                raise out
            return super().retrieve_result_callback(out)

    return Backend(client=client)


def _check_workers(client: Any, address: str) -> None:
    """Refuse workers whose results would lie elsewhere, or be others."""
    with NamedTemporaryFile(prefix=".part-cluster-", dir=".") as file:
        known = {"folder": True, "code": library_digest()}
        try:
            found = client.run(_look, os.path.basename(file.name))
        except ImportError as error:
            raise UserError(f"a worker of {address} cannot import diffsynth: {error}") from error
    if not found:
        raise UserError(f"the Dask scheduler at {address} has no workers: start some with `dask worker`")
    for worker, seen in found.items():
        if seen["folder"] != known["folder"]:
            place = f"start it in {Path.cwd()}, on a file system that both share"
            raise UserError(f"the worker {worker} stands in another folder: {place}")
        if seen["code"] != known["code"]:
            raise UserError(f"the worker {worker} runs other code of diffsynth than this command")


def _look(name: str) -> dict[str, Any]:
    """What a worker finds: whether its folder is that of the command, and its code."""
    return {"folder": os.path.exists(name), "code": library_digest()}
