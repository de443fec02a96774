"""A world of several processes, over torch.distributed. Imported only by processes that train together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from nnrun.core.seams.world import World

# Longer than any rank lets the others wait: one that waits this long for another never gets an answer.
TIMEOUT = timedelta(minutes=10)


class ProcessGroup(World):
    """The ranks of a training as processes that reach each other through torch.distributed.

    A call that fails, because another rank is gone or does not answer, sets `is_broken`.
    """

    def __init__(self, store: Any, rank: int, size: int, backend: str, timeout: timedelta = TIMEOUT) -> None:
        """Join the others, who call this too. `backend` is `gloo`, or one for each type of device."""
        self.rank, self.size = rank, size
        self.is_broken = False
        # gloo alone exchanges what is on the host.
        self._place = torch.device("cpu") if backend == "gloo" else None
        self.exchange(
            lambda: dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=timeout)
        )

    def leave(self) -> None:
        """Leave the others; they are not waited for."""
        if dist.is_initialized():
            dist.destroy_process_group()

    def sum(self, tensors: Iterable[Tensor]) -> None:
        """Replace each tensor by its sum over the ranks, in place: one exchange for each type of number."""
        groups: dict[tuple[torch.dtype, torch.device], list[Tensor]] = {}
        for tensor in tensors:
            groups.setdefault((tensor.dtype, tensor.device), []).append(tensor)
        for group in groups.values():
            self._sum_together(group)

    @torch.no_grad()
    def sum_gradients(self, network: nn.Module) -> None:
        """Replace each gradient by its sum over the ranks, in place.

        A parameter that has a gradient on some ranks only has theirs on each. Waits for the device only on a rank that
        lacks a gradient.
        """
        trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
        if not trained:
            return
        lacking = [number for number, parameter in enumerate(trained) if parameter.grad is None]
        for number in lacking:
            trained[number].grad = torch.zeros_like(trained[number])
        gradients: list[Tensor] = [parameter.grad for parameter in trained if parameter.grad is not None]
        has_one = torch.ones(len(trained), dtype=gradients[0].dtype, device=gradients[0].device)
        has_one[lacking] = 0
        self.sum([has_one, *gradients])
        if lacking:
            for number, found in enumerate(has_one.tolist()):
                if not found:
                    trained[number].grad = None

    def agree(self, flag: bool) -> bool:
        """Return whether the flag is true on any rank; asked on the host, so that nothing waits for a device."""
        votes = torch.tensor(int(flag))
        self.exchange(lambda: dist.all_reduce(votes))
        return bool(votes)

    @torch.inference_mode()
    def broadcast(self, tensors: Iterable[Tensor]) -> None:
        """Copy the first rank's values into each tensor, in place."""
        for tensor in tensors:
            sent = tensor.to(self._place or tensor.device).contiguous()
            self.exchange(lambda sent=sent: dist.broadcast(sent, 0))  # type: ignore[misc]
            if sent is not tensor:
                tensor.copy_(sent)

    @torch.inference_mode()  # the sums of an evaluation can be changed only in it
    def _sum_together(self, tensors: Sequence[Tensor]) -> None:
        """Replace tensors of one type on one device by their sums, in a single exchange."""
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors]).to(self._place or tensors[0].device)
        self.exchange(lambda: dist.all_reduce(flat))
        for tensor, summed in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(summed.view(tensor.shape))

    def exchange(self, exchange: Callable[[], object]) -> None:
        """Make an exchange with the others."""
        try:
            exchange()
        except RuntimeError:
            self.is_broken = True
            raise
