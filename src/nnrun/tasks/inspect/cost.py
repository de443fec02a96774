"""Measure one training step of a network: layers, shapes, parameters, FLOPs, memory. Prints nothing."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode


@dataclass
class Layer:
    """A module, its output in one forward pass, and its submodules.

    `parameters` and `flops` include the submodules. FLOPs are for the whole batch, and a multiply-add counts as two;
    only products, convolutions and attention are counted. `output_shape` begins with the batch dimension; it is None if
    the module was never called or returned no tensor.
    """

    name: str
    kind: str
    parameters: int
    trainable: int
    output_shape: list[int] | None = None
    flops: int = 0
    calls: int = 0
    children: list[Layer] = field(default_factory=list)

    @property
    def leaf_name(self) -> str:
        """The last component of its name; empty for the network itself."""
        return self.name.rpartition(".")[2]


@dataclass(frozen=True)
class StepMemory:
    """The bytes that a training step holds at one time, without temporary buffers of kernels.

    `activations` are the tensors that the forward pass keeps for the backward pass, without the batch itself.
    """

    weights: int
    gradients: int
    optimizer: int
    average: int
    activations: int
    batch: int

    @property
    def total(self) -> int:
        """The sum."""
        return sum((self.weights, self.gradients, self.optimizer, self.average, self.activations, self.batch))


@dataclass(frozen=True)
class Cost:
    """The cost of one step: the tree of layers, the FLOPs of the batch, and the bytes kept for the backward pass."""

    root: Layer
    forward_flops: int
    backward_flops: int
    activation_bytes: int


def layer_tree(network: nn.Module) -> Layer:
    """Return the modules of a network as a tree; a module that is used in several places appears in each."""

    def visit(module: nn.Module, name: str) -> Layer:
        parameters = list(module.parameters())
        layer = Layer(
            name,
            type(module).__name__,
            sum(parameter.numel() for parameter in parameters),
            sum(parameter.numel() for parameter in parameters if parameter.requires_grad),
        )
        # Not named_children, which skips a module that it has already returned.
        children = [(key, child) for key, child in module._modules.items() if child is not None]
        layer.children = [visit(child, f"{name}.{key}" if name else key) for key, child in children]
        return layer

    return visit(network, "")


def measure_step(network: nn.Module, step: Callable[[], object], inputs: Any) -> Cost:
    """Run one forward and backward pass, and return its cost. `inputs` is the batch that `step` gives the network.

    Gradients stay where `step` puts them.
    """
    root = layer_tree(network)
    # The batch and the weights are in memory anyway, so keeping them costs nothing more.
    free = {_address(tensor) for tensor in (*network.parameters(), *network.buffers(), *tree_leaves(inputs))}
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> tuple[Tensor, int]:
        address = _address(tensor)
        if address is not None and address not in free:
            kept[address] = tensor.untyped_storage().nbytes()
        return tensor.detach(), tensor._version

    def give(saved: tuple[Tensor, int]) -> Tensor:
        tensor, version = saved
        if tensor._version != version:
            # Torch checks this itself, but not if hooks are used.
            raise RuntimeError("a tensor that the backward pass needs was modified by an in-place operation")
        return tensor

    counter = FlopCounterMode(
        display=False, custom_mapping={torch.ops.aten.convolution_backward: _convolution_backward_flops}
    )
    hooks = torch.autograd.graph.saved_tensors_hooks(keep, give)
    with counter, _watched(network, root, counter), hooks:
        step()
    return Cost(root, root.flops, counter.get_total_flops() - root.flops, sum(kept.values()))


def _convolution_backward_flops(*shapes: Any, **_: Any) -> int:
    """Return the FLOPs of a convolution's backward pass, from the shapes of its arguments.

    Each multiply-add of the forward pass has one for the input's gradient and one for the weight's. (Torch's own
    formula ignores groups, which gives forty times too much for EfficientNet.)
    """
    (gradient, inputs, weight, *_rest), transposed, (of_input, of_weight, *_bias) = shapes, shapes[7], shapes[10]
    num_samples, _, *positions = inputs if transposed else gradient
    return 2 * num_samples * math.prod(positions) * math.prod(weight) * (int(of_input) + int(of_weight))


@contextmanager
def _watched(network: nn.Module, root: Layer, counter: FlopCounterMode) -> Iterator[None]:
    """Record each layer's calls, FLOPs and output shape while the network runs."""
    layers: dict[nn.Module, list[Layer]] = {}

    def pair(module: nn.Module, layer: Layer) -> None:
        layers.setdefault(module, []).append(layer)
        for child in layer.children:
            pair(module._modules[child.leaf_name], child)  # type: ignore[arg-type]

    pair(network, root)
    started: list[int] = []

    def enter(_module: nn.Module, _inputs: object) -> None:
        if not _in_backward_pass():
            started.append(counter.get_total_flops())

    def leave(module: nn.Module, _inputs: object, outputs: object) -> None:
        if _in_backward_pass():
            return
        flops = counter.get_total_flops() - started.pop()
        shape = next((list(leaf.shape) for leaf in tree_leaves(outputs) if isinstance(leaf, Tensor)), None)
        for layer in layers[module]:
            layer.calls += 1
            layer.flops += flops
            layer.output_shape = layer.output_shape or shape

    handles = [module.register_forward_pre_hook(enter, prepend=True) for module in layers]
    handles += [module.register_forward_hook(leave) for module in layers]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _in_backward_pass() -> bool:
    """Return whether the backward pass is under way, in which trainer.recompute calls layers again."""
    return torch._C._current_graph_task_id() != -1


def _address(tensor: object) -> int | None:
    """Return the address of a tensor's storage, the same for all its views; None for a tensor without storage."""
    try:
        return tensor.untyped_storage().data_ptr()  # type: ignore[attr-defined]
    except (NotImplementedError, RuntimeError, AttributeError):
        return None


def memory_of(
    network: nn.Module, optimizer: Optimizer, average: nn.Module | None, inputs: Any, activation_bytes: int
) -> StepMemory:
    """Return the memory of a training step; the optimizer must have made a step, so that its state exists."""
    gradients = num_bytes(parameter for parameter in network.parameters() if parameter.requires_grad)
    return StepMemory(
        weights=_module_bytes(network),
        gradients=gradients,
        optimizer=num_bytes(tree_leaves(optimizer.state_dict()["state"])),
        average=_module_bytes(average) if average is not None else 0,
        activations=activation_bytes,
        batch=num_bytes(tree_leaves(inputs)),
    )


def _module_bytes(module: nn.Module) -> int:
    """Return the bytes of a module's parameters and buffers, each counted once."""
    return num_bytes((*module.parameters(), *module.buffers()))


def num_bytes(tensors: Iterable[object]) -> int:
    """Return the total bytes of the tensors among these objects."""
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors if isinstance(tensor, Tensor))
