"""What the layers of a network put out in a watched step: size, dead units, saturation. Changes no result."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves
from torch.utils.hooks import RemovableHandle

from nnrun.core.device import is_gpu
from nnrun.core.multi_tensor import Snapshot
from nnrun.core.state import TrainState
from nnrun.runs.layer_diagnosis import DEAD_FOR

# Layers whose units are dead where they put out 0 for every sample.
_RECTIFIERS = (nn.ReLU, nn.ReLU6)
# Layers with a bounded output: its middle, and how far from there it counts as saturated.
_BOUNDED: dict[type[nn.Module], tuple[float, float]] = {nn.Sigmoid: (0.5, 0.49), nn.Tanh: (0.0, 0.99)}
# Layers after which the units are in the last dimension, whatever the number of dimensions.
_LAST = (nn.Linear, nn.LayerNorm, nn.Embedding)


class Activations:
    """Hooks on the layers of a network: set before a watched step, removed after it.

    `dead` has for each layer how many watched batches in a row each unit was 0 for every sample.
    """

    def __init__(self, network: nn.Module) -> None:
        self._names = {
            module: name for name, module in network.named_modules() if not any(True for _ in module.children())
        }
        self._handles: list[RemovableHandle] = []
        self._found: dict[str, Tensor] = {}
        self._are_last = False
        self.dead: dict[str, Tensor] = {}
        self._alive: dict[str, Tensor] = {}
        self.num_watched = 0

    def set(self) -> None:
        """Watch the calls of all layers from now on."""
        self._found, self._alive = {}, {}
        self._handles = [module.register_forward_hook(self._take) for module in self._names]

    def remove(self) -> None:
        """Stop watching, and count the dead units of the batches that were seen."""
        for handle in self._handles:
            handle.remove()
        self._handles = []
        for name, alive in self._alive.items():
            before = self.dead.get(name)
            fits = before is not None and before.shape == alive.shape
            counts = (
                before.to(alive.device) if fits and before is not None else torch.zeros_like(alive, dtype=torch.int32)
            )
            self.dead[name] = (counts + 1).clamp_(max=DEAD_FOR).masked_fill_(alive, 0)
        self.num_watched += bool(self._found)

    def values(self) -> dict[str, Tensor]:
        """Return what was measured, by name, as numbers on the device."""
        needed = min(self.num_watched, DEAD_FOR)
        shares = {f"dead/{name}": (self.dead[name] >= needed).float().mean() for name in self._alive if needed}
        return self._found | shares

    def units(self) -> dict[str, int]:
        """Return the number of units of each layer whose dead ones are counted."""
        return {name: len(counts) for name, counts in self.dead.items()}

    @torch.no_grad()
    def _take(self, module: nn.Module, given: object, outputs: object) -> None:
        """Measure what a layer put out."""
        output = next((leaf for leaf in tree_leaves(outputs) if isinstance(leaf, Tensor)), None)
        if output is None or not output.is_floating_point() or not output.numel() or output.dim() < 2:
            return
        name = self._names[module]
        if next(module.parameters(recurse=False), None) is not None:
            self._are_last = isinstance(module, _LAST)
            size = torch.linalg.vector_norm(output.detach(), dtype=torch.float32) / output.numel() ** 0.5
            self._found[f"activations/{name}"] = size
        elif isinstance(module, _RECTIFIERS):
            units = output.dim() - 1 if self._are_last else 1
            # No output is negative. In bf16 on a CPU a sum takes a fiftieth of the time of a maximum.
            alive = output.detach().sum([dim for dim in range(output.dim()) if dim != units]) > 0
            self._alive[name] = self._alive[name] | alive if name in self._alive else alive
        elif type(module) in _BOUNDED:
            middle, far = _BOUNDED[type(module)]
            self._found[f"saturated/{name}"] = ((output.detach().float() - middle).abs() > far).float().mean()


class Kept(nn.Module):
    """Call a network, and keep its newest input."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner
        self.inputs: object = None

    def forward(self, inputs: object) -> object:
        self.inputs = inputs
        return self.inner(inputs)


@torch.no_grad()
def run_again(state: TrainState, inputs: object) -> None:
    """Run the network on a batch without compiling it; random state and buffers are left as they were."""
    network = state.network
    before = Snapshot(network.buffers())
    devices = [state.device] if is_gpu(state.device) else []
    with torch.random.fork_rng(devices), state.precision.autocast(state.device), _without_compiling(network):
        network(inputs)
    yes = torch.zeros((), dtype=torch.bool, device=state.device)
    before.put_back_unless(yes, network.buffers())


@contextmanager
def _without_compiling(network: nn.Module) -> Iterator[None]:
    """Call a network's own code in the block, which compiled code, that knows no new hooks, stands for otherwise."""
    compiled = network._compiled_call_impl
    network._compiled_call_impl = None
    try:
        yield
    finally:
        network._compiled_call_impl = compiled
