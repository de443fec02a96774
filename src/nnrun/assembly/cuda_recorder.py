"""Record what a GPU does as a CUDA graph: the host launches all its kernels as one."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch


class CudaRecorder:
    """Record CUDA graphs that share their memory: they are replayed one at a time, and leave nothing in it."""

    def __init__(self, device: torch.device, generators: Sequence[torch.Generator] = ()) -> None:
        self._device = device
        # Besides the device's own, which torch registers itself.
        self._generators = generators
        self._stream = torch.cuda.Stream(device)
        self._pool = torch.cuda.graph_pool_handle()

    def __call__(self, work: Callable[[], None]) -> Callable[[], None]:
        """Return the replay of a graph of `work`."""
        graph = torch.cuda.CUDAGraph()
        for generator in self._generators:
            graph.register_generator_state(generator)
        before = torch.cuda.current_stream(self._device)
        # A checkpoint may be written meanwhile by another thread, whose calls are none of the graph's business.
        capture = torch.cuda.graph(graph, self._pool, self._stream, capture_error_mode="thread_local")
        first: list[BaseException] = []
        try:
            with torch.cuda.device(self._device), capture:
                try:
                    work()
                except BaseException as error:
                    first.append(error)
                    raise
        except BaseException:
            # torch leaves its own stream current when a capture fails, and reports the failure instead of its cause.
            torch.cuda.set_stream(before)
            if first:
                raise first[0] from None
            raise
        replay: Callable[[], None] = graph.replay
        return replay
