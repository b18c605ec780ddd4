"""Independent tasks on a Ray cluster (extra ``physpatch[cluster]``)."""

import logging
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from calibration.common.errors import InputError, UnavailableError

Item = TypeVar("Item")
_KNOCK_SECONDS = 5.0
_RETRIES = 5  # of a task whose worker died; an error raised by the work itself is not retried

Say = Callable[[str], None]


def run_on_ray(
    work: Callable[[Item], Any], items: Sequence[Item], address: str, *, say: Say = lambda _: None
) -> Iterator[tuple[Item, Any]]:
    """Run ``work`` for each item on a cluster, and yield items with their results as they finish.

    Args:
        work: a function that every node can import; its files must be readable there, too.
        items: one per task, which uses one CPU of the cluster, and a GPU where there are any.
        address: of the cluster; ``auto`` is the one that this machine belongs to, ``local`` a new one on this machine.
        say: receives one line at a time.

    Raises:
        UnavailableError: Ray is not installed.
        InputError: no cluster answers.
        PhyspatchError: raised by ``work``.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing leaves the machine
    try:
        import ray
    except ImportError as error:
        raise UnavailableError("ray is not installed; pip install 'physpatch[cluster]'") from error
    ours = not ray.is_initialized()
    if ours:
        try:
            _knock(address)
            ray.init(
                address=address,
                include_dashboard=None if address != "local" else False,
                log_to_driver=False,
                logging_level=logging.ERROR,
            )
        except (OSError, ValueError, RuntimeError) as error:
            raise InputError(
                f"no Ray cluster answers at {address} ({str(error).splitlines()[0] if str(error) else type(error).__name__})"
            ) from error
    try:
        gpus = 1 if ray.cluster_resources().get("GPU", 0) else 0
        task = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=_RETRIES)(work)
        waiting = {task.remote(item): item for item in items}
        say(f"{len(items)} cells on {len(ray.nodes())} nodes, {ray.cluster_resources().get('CPU', 0):g} CPUs")
        while waiting:
            (ready, *_), _ = ray.wait(list(waiting))
            item = waiting.pop(ready)
            try:
                result = ray.get(ready)
            except ray.exceptions.RayTaskError as error:
                raise error.cause from error
            yield item, result
    finally:
        if ours:
            ray.shutdown()


def _knock(address: str) -> None:
    """Fail within seconds where nothing listens at HOST:PORT; Ray itself would try for ten minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host, int(port)), timeout=_KNOCK_SECONDS).close()
