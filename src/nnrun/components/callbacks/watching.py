"""`trainer.watch`: norms by layer, dead units, update ratios, time by part and memory, in every N-th step."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from nnrun.components.callbacks.activations import Activations, Kept, run_again
from nnrun.components.callbacks.memory import memory
from nnrun.core.laps import PARTS, Laps
from nnrun.core.seams.callback import Callback
from nnrun.core.state import TrainState


class Watching(Callback):
    """Add a row `watch` after the first step of a run and after every `every_steps`-th one.

    Everything is measured on the device and read once, after the step. `parts` are those of trainer.watch. Nothing
    changes the training's results: hooks are set only in a watched step and return nothing, and of a compiled network,
    which runs without hooks, the layers' outputs are taken from another pass over the same batch. Activations are those
    of this rank's slice of the batch; gradients are those that the optimizer takes, after clipping.
    """

    def __init__(self, parts: Sequence[str], every_steps: int, laps: Laps | None, units: dict[str, int]) -> None:
        self._parts = frozenset(parts)
        self._every_steps = every_steps
        self._laps = laps
        self._units = units
        self._state: TrainState | None = None
        self._is_due = False
        self._activations: Activations | None = None
        self._kept: Kept | None = None
        self._dead: dict[str, Tensor] = {}
        self._names: list[str] = []
        self._parameters: list[Tensor] = []
        self._sizes: dict[str, int] = {}
        self._before: list[Tensor] = []
        self._found: dict[str, Tensor] = {}
        self._timed = (dict.fromkeys(PARTS, 0.0), 0)

    def on_fit_start(self, state: TrainState) -> None:
        """Find the layers, and go on from the counts of a resumed run."""
        if "activations" in self._parts:
            self._activations = Activations(state.network)
            self._activations.dead = {name: counts.to(state.device) for name, counts in self._dead.items()}
            self._activations.num_watched = self._num_watched(state.progress.step)
        self._state = state

    def _num_watched(self, step: int) -> int:
        """Return how many steps up to `step` were watched."""
        return step // self._every_steps + (step >= 1 and self._every_steps > 1)

    def mark(self, part: str) -> None:
        """Take a mark of the step at the end of one of its parts."""
        if part not in PARTS and self._state is not None:
            self._prepare(self._state)

    def _prepare(self, state: TrainState) -> None:
        """Set the hooks if the step that begins is to be watched: not before, or a validation would meet them."""
        step = state.progress.step + 1
        self._is_due = step == 1 or step % self._every_steps == 0
        if self._laps is not None and self._is_due:
            self._laps.is_armed = True
        if not self._is_due or self._activations is None:
            return
        if state.network._compiled_call_impl is None:
            self._activations.set()
        else:
            self._kept = Kept(state.train_module)
            state.train_module = self._kept

    def joins_update(self, state: TrainState) -> bool:
        """Join the updates that are watched."""
        return self._is_due

    @torch.no_grad()
    def on_gradients_ready(self, state: TrainState) -> None:
        """Measure the gradients, and the weights before the update."""
        if not self._is_due:
            return
        if self._activations is not None:
            if self._kept is not None:
                state.train_module, kept, self._kept = self._kept.inner, self._kept, None
                self._activations.set()
                run_again(state, kept.inputs)
            self._activations.remove()
            self._found |= self._activations.values()
            self._units.update(self._activations.units())
        wanted = self._parts & {"gradients", "weights", "updates"}
        if not wanted:
            return
        named = [(_layer(name), p) for name, p in state.network.named_parameters() if p.grad is not None]
        self._names, self._parameters = [name for name, _ in named], [p for _, p in named]
        if not named:
            return
        if "gradients" in wanted:
            self._keep("gradients", [p.grad for p in self._parameters if p.grad is not None])
            self._sizes = dict.fromkeys(self._names, 0)
            for name, parameter in named:
                self._sizes[name] += parameter.numel()
        if wanted - {"gradients"}:
            self._keep("weights", self._parameters)
        if "updates" in wanted:
            self._before = [p.detach().clone() for p in self._parameters]

    def _keep(self, kind: str, tensors: list[Tensor]) -> None:
        """Keep the norm of each tensor on the device."""
        self._found[f"{kind}/"] = torch.stack([norm.float() for norm in torch._foreach_norm(tensors)])

    @torch.no_grad()
    def on_step_end(self, state: TrainState) -> None:
        """Add the row of a watched step. Waits for the device, after the step."""
        if self._is_due:
            if self._before:
                self._keep("updates", list(torch._foreach_sub(self._parameters, self._before)))
            values = self._read()
            if self._laps is not None:
                values |= self._times(self._laps)
            if "memory" in self._parts:
                values |= memory(state.device)
            self._before, self._parameters, self._found = [], [], {}
            state.log("watch", {name: value for name, value in values.items() if math.isfinite(value)})

    def _read(self) -> dict[str, float]:
        """Return what was kept, by layer. Waits for the device."""
        if not self._found:
            return {}
        numbers = torch.cat([each.float().reshape(-1) for each in self._found.values()]).tolist()  # waits
        values: dict[str, float] = {}
        squares: dict[str, dict[str, float]] = {}
        for name, tensor in self._found.items():
            own, numbers = numbers[: tensor.numel()], numbers[tensor.numel() :]
            if not name.endswith("/"):
                values[name] = own[0]
                continue
            by_layer = squares.setdefault(name, {})
            for layer, norm in zip(self._names, own, strict=True):
                by_layer[layer] = by_layer.get(layer, 0.0) + norm**2
        for layer in squares.get("gradients/", {}):
            values[f"gradients/{layer}"] = math.sqrt(squares["gradients/"][layer] / self._sizes[layer])
        for layer, square in squares.get("weights/", {}).items():
            if "weights" in self._parts:
                values[f"weights/{layer}"] = math.sqrt(square)
            if "updates/" in squares and square:
                values[f"updates/{layer}"] = math.sqrt(squares["updates/"][layer] / square)
        return values

    def _times(self, laps: Laps) -> dict[str, float]:
        """Return the milliseconds of each part of a step, as a mean over the steps that were timed since last time."""
        laps.read()
        before, number = self._timed
        steps = laps.num_steps - number
        self._timed = (dict(laps.seconds), laps.num_steps)
        return {f"time/{part}_ms": 1000 * (laps.seconds[part] - before[part]) / steps for part in PARTS if steps}

    def state_dict(self) -> dict[str, object]:
        """Return how long each unit has been dead."""
        return {"dead": dict(self._activations.dead)} if self._activations and self._activations.dead else {}

    def load_state_dict(self, state: dict[str, object]) -> None:
        """Restore the counts; anything else in a file is left out."""
        counts = state.get("dead")
        for name, each in counts.items() if isinstance(counts, dict) else ():
            if isinstance(name, str) and isinstance(each, Tensor) and each.dtype == torch.int32 and each.dim() == 1:
                self._dead[name] = each


def _layer(name: str) -> str:
    """Return the layer of a parameter."""
    return name.rpartition(".")[0] or name
