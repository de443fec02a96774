"""Record what a GPU does as a CUDA graph: the host launches all its kernels as one."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch


class CudaRecorder:
    """Record CUDA graphs that share their memory: they are replayed one at a time, and leave nothing in it.

    The memory is not available to other work. With `needs_room`, raise MemoryError unless twice as much is free.
    """

    def __init__(
        self, device: torch.device, generators: Sequence[torch.Generator] = (), *, needs_room: bool = False
    ) -> None:
        self._device, self._needs_room = device, needs_room
        # Besides the device's own, which torch registers itself.
        self._generators = generators
        self._stream = torch.cuda.Stream(device)
        self._pool = torch.cuda.graph_pool_handle()
        # Keeps the memory while others are recorded anew.
        self._newest: torch.cuda.CUDAGraph | None = None

    def __call__(self, work: Callable[[], None]) -> Callable[[], None]:
        """Return the replay of a graph of `work`."""
        if self._needs_room and self._newest is None:
            self._check_room()
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
        self._newest = graph
        replay: Callable[[], None] = graph.replay
        return replay

    def _check_room(self) -> None:
        """Raise MemoryError if the memory that steps have used beside what stays would leave little of the rest."""
        stays = torch.cuda.memory_allocated(self._device)
        wanted = torch.cuda.max_memory_allocated(self._device) - stays
        free = torch.cuda.mem_get_info(self._device)[0] + torch.cuda.memory_reserved(self._device) - stays
        if 2 * wanted > free:
            raise MemoryError(
                f"a recording would keep {wanted / 1e6:,.0f} MB; allowed: half of the free {free / 1e6:,.0f} MB"
            )
