"""What a run asks of its machine, sampled while it goes on: MLflow's system metrics.

MLflow's own monitor sends from a thread of its own, to one store and without end; here a thread
samples only, and what it finds goes the way of all metrics.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from queue import Empty, SimpleQueue
from typing import Any, Final

from mlflow.entities import Metric
from mlflow.system_metrics.metrics.cpu_monitor import CPUMonitor
from mlflow.system_metrics.metrics.disk_monitor import DiskMonitor
from mlflow.system_metrics.metrics.gpu_monitor import GPUMonitor
from mlflow.system_metrics.metrics.network_monitor import NetworkMonitor

from recae.tracking.store import tolerated

_LEAST: Final = 1.0
"""Seconds between two samples, at least."""
_GROWTH: Final = 0.01
"""Of the time that has gone by, between two samples: 100 in 100 s, 450 in an hour."""


class Machine:
    """Samples processor, memory, disk, network, and the GPU where NVIDIA's library is installed."""

    def __init__(self) -> None:
        self._samples: SimpleQueue[Metric] = SimpleQueue()
        self._over = threading.Event()

    @contextmanager
    def watched(self, started: int) -> Iterator[None]:
        """Sample while the block lasts; a step is a second since `started`, in Unix milliseconds.
        Where that fails, the block goes on without."""
        thread = threading.Thread(
            target=self._watch, args=(started,), name="recae-machine", daemon=True
        )
        thread.start()
        try:
            yield
        finally:
            self._over.set()
            thread.join()

    def take(self) -> list[Metric]:
        """What was sampled since this was last asked."""
        taken: list[Metric] = []
        with suppress(Empty):
            while True:
                taken.append(self._samples.get_nowait())
        return taken

    def _watch(self, started: int) -> None:
        with tolerated("what the machine does cannot be tracked"):
            monitors = _monitors()
            # Shares of time are those since the last look: the first one has nothing to tell.
            _look(monitors)
            began, is_over = time.monotonic(), False
            while not is_over:
                pause = max(_LEAST, _GROWTH * (time.monotonic() - began))
                is_over = self._over.wait(pause)
                now = time.time_ns() // 1_000_000
                for name, value in _look(monitors).items():
                    self._samples.put(Metric(f"system/{name}", value, now, (now - started) // 1000))


def _monitors() -> list[Any]:
    always: list[Any] = [CPUMonitor, DiskMonitor, NetworkMonitor]
    perhaps: Any = GPUMonitor
    monitors = [kind() for kind in always]
    # Without NVIDIA's library, or without a GPU, it fails, each time in another way.
    with suppress(Exception):
        monitors.append(perhaps())
    return monitors


def _look(monitors: list[Any]) -> dict[str, float]:
    values: dict[str, float] = {}
    for monitor in monitors:
        monitor.collect_metrics()
        values |= monitor.aggregate_metrics()
        monitor.clear_metrics()
    return values
