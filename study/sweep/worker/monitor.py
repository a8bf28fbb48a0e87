"""System metrics of the worker that runs a trial: processor, memory and GPU, sampled in a thread."""

import contextlib
import os
import threading
import time
from collections.abc import Callable
from typing import Any

import psutil

from study.spec.rows import Row, row


class Monitor:
    """Samples every `interval` seconds between start() and rows(), and calls `beat` then.

    Names as MLflow's system metrics.
    """

    def __init__(self, interval: float = 1.0, beat: Callable[[], None] | None = None) -> None:
        self.interval, self.beat = interval, beat
        self._samples: list[tuple[float, dict[str, float]]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="monitor", daemon=True)
        self._process = psutil.Process()
        self._gpus = _nvml_handles()
        self._start = time.monotonic()

    def start(self) -> "Monitor":
        """Begin sampling."""
        self._process.cpu_percent()
        self._thread.start()
        return self

    def stop(self) -> None:
        """End sampling."""
        self._stop.set()

    def rows(self) -> list[Row]:
        """One row per metric and sample; `step` is seconds since the start."""
        self.stop()
        if not self._samples:
            self._sample()
        return [
            row(name, value, step=at, deterministic=False)
            for at, sample in {round(at, 3): sample for at, sample in self._samples}.items()
            for name, value in sample.items()
        ]

    def _loop(self) -> None:
        while not self._stop.wait(self.interval):
            with contextlib.suppress(OSError):  # a trial may leave no file to be opened: its signs of life go on
                self._sample()
            if self.beat:
                self.beat()

    def _sample(self) -> None:
        mega = 1e6
        sample = {
            "system/process_cpu_percentage": self._process.cpu_percent(),
            "system/process_memory_megabytes": self._process.memory_info().rss / mega,
            "system/cpu_utilization_percentage": psutil.cpu_percent(),
            "system/system_memory_usage_megabytes": psutil.virtual_memory().used / mega,
        }
        for i, handle in enumerate(self._gpus):
            import pynvml

            memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
            sample[f"system/gpu_{i}_utilization_percentage"] = pynvml.nvmlDeviceGetUtilizationRates(handle).gpu
            sample[f"system/gpu_{i}_memory_usage_megabytes"] = memory.used / mega
        self._samples.append((time.monotonic() - self._start, sample))


def gpu_count() -> int:
    """GPUs that NVML sees on this machine; 0 where there is no driver."""
    import pynvml

    try:
        pynvml.nvmlInit()
        return pynvml.nvmlDeviceGetCount()
    except pynvml.NVMLError:
        return 0


def _nvml_handles() -> list[Any]:
    import pynvml

    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    count = gpu_count()
    wanted = range(count) if visible is None else [int(v) for v in visible.split(",") if v.isdigit()]
    return [pynvml.nvmlDeviceGetHandleByIndex(i) for i in wanted if i < count]
