"""A training whose parameters, gradients and optimizer state are divided among the ranks, by torch's `fully_shard`.

Imported only by a training that does this: it needs torch's compiler, which takes as long to import as torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor
from torch.optim import Optimizer

from nnrun.base.errors import ConfigError, ResourceError
from nnrun.core.process_group import ProcessGroup
from nnrun.core.seams.world import World
from nnrun.core.state import TrainState


def shard(state: TrainState, ranks: ProcessGroup, layers: Sequence[str]) -> None:
    """Divide a training among the ranks, in place: the network, the average of its weights, the optimizer's state.

    Each rank keeps a part of every parameter: some of its rows. The parameters of each of these layers, and all others
    together, are gathered for as long as a pass computes with them. The parts are ordinary parameters, which the
    optimizer trains as it would the whole: it must treat each number apart. What was loaded before stays as it is.
    """
    world = Sharded(ranks, state.device)
    before = {id(parameter): name for name, parameter in state.network.named_parameters()}
    own = world.divide(state.network, layers)
    _divide_optimizer(state.optimizer, {key: own[name] for key, name in before.items()}, world)
    if state.ema:
        if state.ema.network is not state.network:
            world.divide(state.ema.network, layers)
        state.ema.average(world.own)
    state.eval_module = Evaluated(state.evaluated)
    state.world = world


def _divide_optimizer(optimizer: Optimizer, own: Mapping[int, nn.Parameter], world: Sharded) -> None:
    """Let an optimizer train parts of its parameters, which are given by the parameter's id."""
    states = {id(parameter): entry for parameter, entry in optimizer.state.items()}
    optimizer.state.clear()
    for group in optimizer.param_groups:
        for place, whole in enumerate(group["params"]):
            part = own[id(whole)]
            group["params"][place] = part
            if id(whole) in states:
                optimizer.state[part] = {
                    key: _moved(world.part_of(value) if _is_like(value, whole.shape) else value, part, group)
                    for key, value in states[id(whole)].items()
                }


def _moved(value: Any, part: Tensor, group: Mapping[str, Any]) -> Any:
    """Return a value of a parameter's state where the optimizer has it: single numbers may stay on the host."""
    is_there = isinstance(value, Tensor) and (value.dim() > 0 or group.get("fused") or group.get("capturable"))
    return value.to(part.device) if is_there else value


def _is_like(value: object, shape: torch.Size) -> bool:
    """Return whether a value of an optimizer's state has a number for each of a parameter."""
    return isinstance(value, Tensor) and value.dim() > 0 and value.shape == shape


class Sharded(World):
    """The ranks of a training of which each has a part of every parameter; made by `shard`."""

    def __init__(self, ranks: ProcessGroup, device: torch.device) -> None:
        self.rank, self.size = ranks.rank, ranks.size
        self._ranks, self._device = ranks, device
        self._mesh = init_device_mesh(device.type, (ranks.size,))
        # This rank's part of each parameter, and what torch has in the network for it, by the network.
        self._own: dict[int, dict[str, nn.Parameter]] = {}
        self._pairs: dict[int, list[tuple[DTensor, nn.Parameter]]] = {}
        # The number of rows of the whole parameter, by this rank's part.
        self._num_rows: dict[int, int] = {}

    def sum(self, tensors: Iterable[Tensor]) -> None:
        """Replace each tensor by its sum over the ranks, in place."""
        self._ranks.sum(tensors)

    def agree(self, flag: bool) -> bool:
        """Return whether the flag is true on any rank."""
        return self._ranks.agree(flag)

    def broadcast(self, tensors: Iterable[Tensor]) -> None:
        """Copy the first rank's values into each tensor, in place."""
        self._ranks.broadcast(tensors)

    def divide(self, network: nn.Module, layers: Sequence[str]) -> Mapping[str, nn.Parameter]:
        """Divide the parameters of a network; return this rank's parts by name."""
        if single := [name for name, parameter in network.named_parameters() if parameter.dim() == 0]:
            raise ConfigError(
                f"trainer.strategy=fsdp: model: {single[0]} is a number without a dimension, which cannot be divided; "
                "make it a tensor of shape (1,), or use trainer.strategy=ddp"
            )
        for module in [*(network.get_submodule(name) for name in layers), network]:
            fully_shard(module, mesh=self._mesh, reshard_after_forward=True)
            assert isinstance(module, FSDPModule)
            # The loss is divided by the samples of all ranks: gradients are added, not averaged.
            module.set_gradient_divide_factor(1.0)
            module.set_force_sum_reduction_for_comms(True)
            module.set_custom_all_gather(_Gather(self._exchange))  # type: ignore[arg-type]
            module.set_custom_reduce_scatter(_SumAndScatter(self._exchange))  # type: ignore[arg-type]
        divided = {name: each for name, each in network.named_parameters() if isinstance(each, DTensor)}
        own = {
            name: nn.Parameter(each.to_local().detach(), requires_grad=each.requires_grad)
            for name, each in divided.items()
        }
        self._num_rows |= {id(own[name]): each.shape[0] for name, each in divided.items()}
        self._own[id(network)] = own
        self._pairs[id(network)] = [(each, own[name]) for name, each in divided.items()]
        return own

    def part_of(self, whole: Tensor) -> Tensor:
        """Return a copy of this rank's rows of a tensor, as torch divides them: the last ranks may have none."""
        most = -(-len(whole) // self.size)
        return whole[min(self.rank * most, len(whole)) : min((self.rank + 1) * most, len(whole))].clone()

    def own(self, network: nn.Module) -> Mapping[str, Tensor]:
        """Return this rank's part of each parameter of a network, by its name."""
        return self._own[id(network)]

    @torch.no_grad()
    def sum_gradients(self, network: nn.Module) -> None:
        """Give each part its gradient; the backward pass has summed it over the ranks."""
        for divided, part in self._pairs[id(network)]:
            part.requires_grad_(divided.requires_grad)
            if divided.grad is not None:
                part.grad = divided.grad.to_local()  # type: ignore[attr-defined]
                divided.grad = None

    @torch.no_grad()
    def norm(self, gradients: Sequence[Tensor]) -> Tensor:
        """Return the norm of gradients of which each rank has a part."""
        # A square of fp32 may be too large for it.
        norm = torch.nn.utils.get_total_norm(gradients).to(self._device)
        square = norm.double().square()
        self.sum([square])
        return square.sqrt().to(norm.dtype)

    def held(self, network: nn.Module) -> dict[str, Tensor]:
        """Return a network's state dict with this rank's part of each parameter."""
        state: dict[str, Tensor] = network.state_dict()
        return {name: each.to_local() if isinstance(each, DTensor) else each for name, each in state.items()}

    @torch.no_grad()
    def whole(self, network: nn.Module) -> dict[str, Tensor]:
        """Return a network's state dict on the host of the first rank, where its tensors are whole."""
        whole: dict[int, Tensor] = {}

        def gathered(tensor: Tensor) -> Tensor:
            if not isinstance(tensor, DTensor):
                return tensor
            local = tensor.to_local()
            key = local.untyped_storage().data_ptr() or id(tensor)
            if key not in whole:  # tied weights stay the same
                whole[key] = self._whole(local, len(tensor))
            return whole[key].detach()

        return {name: gathered(tensor) for name, tensor in network.state_dict().items()}

    @torch.no_grad()
    def whole_optimizer(self, optimizer: Optimizer) -> dict[str, Any]:
        """Return an optimizer's state on the host of the first rank, in the form that it has in one process."""
        state = optimizer.state_dict()
        parts: list[nn.Parameter] = [part for group in optimizer.param_groups for part in group["params"]]
        state["state"] = {
            number: {
                key: self._whole(value, self._num_rows[id(parts[number])])
                if _is_like(value, parts[number].shape)
                else value
                for key, value in entry.items()
            }
            for number, entry in state["state"].items()
        }
        return state

    def _whole(self, part: Tensor, num_rows: int) -> Tensor:
        """Return the rows of all ranks, on the host of the first; the others get their own part back."""
        most = -(-num_rows // self.size)
        sent = part.new_zeros((most, *part.shape[1:]))
        sent[: len(part)] = part
        got = [torch.empty_like(sent) for _ in range(self.size)] if self.is_first else None
        self._exchange(lambda: dist.gather(sent, got, 0))
        return torch.cat(got)[:num_rows].cpu() if got is not None else part

    def _exchange(self, exchange: Callable[[], object]) -> None:
        """Make an exchange with the others; it may be within a pass of the network, whose error it is not."""
        try:
            self._ranks.exchange(exchange)
        except RuntimeError as error:
            raise ResourceError(f"rank {self.rank} lost the other processes of this training ({error})") from error


class Evaluated(nn.Module):
    """A divided network, to be called in an evaluation.

    What torch gathers there it keeps for the next training step: it must be made outside of inference mode.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, *inputs: Any) -> Any:
        with torch.inference_mode(mode=False), torch.no_grad():
            return self.network(*inputs)


# A later torch gave them new names, and warns of the old ones.
_gather_parts = getattr(dist, "all_gather_single", None) or dist.all_gather_into_tensor
_sum_and_scatter = getattr(dist, "reduce_scatter_single", None) or dist.reduce_scatter_tensor


class _Exchange:
    """How torch's `fully_shard` exchanges: as all else between the ranks, so that a lost rank is noticed."""

    def __init__(self, exchange: Callable[[Callable[[], object]], None]) -> None:
        self._exchange = exchange

    def allocate(self, size: Iterable[int], *, dtype: torch.dtype, device: torch.device) -> Tensor:
        """Return memory for an exchange."""
        return torch.empty(*size, dtype=dtype, device=device)


class _Gather(_Exchange):
    """Gather the parts of parameters."""

    def __call__(self, output_tensor: Tensor, input_tensor: Tensor, group: Any, async_op: bool = False) -> Any:
        work: list[Any] = []
        self._exchange(lambda: work.append(_gather_parts(output_tensor, input_tensor, group=group, async_op=async_op)))
        return work[0]


class _SumAndScatter(_Exchange):
    """Add up gradients, and give each rank its part."""

    def __call__(
        self,
        output_tensor: Tensor,
        input_tensor: Tensor,
        group: Any,
        op: Any,
        async_op: bool = False,
    ) -> Any:
        work: list[Any] = []
        self._exchange(
            lambda: work.append(_sum_and_scatter(output_tensor, input_tensor, op=op, group=group, async_op=async_op))
        )
        return work[0]
