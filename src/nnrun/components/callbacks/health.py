"""Report what is wrong with a training while it runs, from the rows that are logged anyway."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from nnrun.base.visible import few
from nnrun.core.seams.callback import Callback
from nnrun.core.state import TrainState
from nnrun.runs.diagnosis import Finding, Known, Stage, learning, stages_of
from nnrun.runs.layer_diagnosis import WATCHED, layers

# Values of each parameter whose change since the start is measured.
_NUM_VALUES = 1000
# Watched rows that are kept, besides the first one.
_NUM_WATCHED = 2 * WATCHED


class Health(Callback):
    """Judge the training after each validation and each watched update, and report each finding once.

    `known` returns what is known besides the rows, `earlier` the rows before this process. `tell` prints a warning;
    only the first rank calls it.
    """

    def __init__(
        self,
        known: Callable[[], Known],
        tell: Callable[[str], None],
        earlier: Callable[[], Sequence[Mapping[str, Any]]],
    ) -> None:
        self._known, self._tell, self._earlier = known, tell, earlier
        # The number of units of each layer whose dead ones are counted; filled in by who counts them.
        self.units: dict[str, int] = {}
        # The validations so far, and the training rows since the newest one.
        self._stages: list[Stage] = []
        self._rows: list[Mapping[str, Any]] = []
        self._watched: list[Mapping[str, Any]] = []
        self._said: set[str] = set()
        self._sampled: list[Tensor] = []
        self._start: Tensor | None = None
        # Trainable parameters that had no gradient in any update that was looked at; None before the first.
        self._unreached: set[str] | None = None

    def take(self, row: Mapping[str, Any]) -> None:
        """Take a row of metrics as it is written."""
        if row["split"] in ("train", "valid"):
            self._rows.append(row)
            if row["split"] == "valid":
                since = self._stages[-1].step if self._stages else 0
                self._stages += stages_of(self._rows, self._known().headline, since)
                self._rows = []
        elif row["split"] == "watch":
            first, later = self._watched[:1], self._watched[1:]
            self._watched = [*first, *[*later, row][-_NUM_WATCHED:]]

    @torch.no_grad()
    def on_fit_start(self, state: TrainState) -> None:
        """Keep a few values of each weight, to see later how far they moved; name what is frozen and not by request."""
        if state.progress.num_rows:
            for row in self._earlier():
                self.take(row)
        asked = state.freezing.names
        frozen = [
            name for name, each in state.network.named_parameters() if not each.requires_grad and name not in asked
        ]
        if frozen:
            self._say(
                state,
                Finding(
                    "frozen",
                    f"frozen, though transfer.freeze does not name them: {few(frozen)}. Their requires_grad is false: "
                    "they do not train. Set requires_grad_(True) in the network's code if that is a mistake",
                ),
            )
        # Views: they see the weights as they change.
        trained = [p.detach() for p in state.world.own(state.network).values() if p.requires_grad and p.numel()]
        # The first values in memory, whatever the layout.
        self._sampled = [p.as_strided((min(p.numel(), _NUM_VALUES),), (1,), p.storage_offset()) for p in trained]
        self._start = torch.cat([each.float() for each in self._sampled]) if self._sampled else None

    def joins_update(self, state: TrainState) -> bool:
        """Join the first update that is looked at: a captured one has the same parameters in each."""
        return state.is_logged and self._unreached is None

    def on_gradients_ready(self, state: TrainState) -> None:
        """Note which parameters have no gradient, where a row follows: the host knows that without the device."""
        if state.is_logged:
            names = {name for name, p in state.world.own(state.network).items() if p.requires_grad and p.grad is None}
            self._unreached = names if self._unreached is None else self._unreached & names

    def on_step_end(self, state: TrainState) -> None:
        """Judge the layers, if this update was watched."""
        if self._watched and self._watched[-1]["step"] == state.progress.step:
            for finding in layers(self._watched, self.units, self._stages):
                self._say(state, finding)

    def on_validation_end(self, state: TrainState, metrics: Mapping[str, float]) -> None:
        """Judge how the training learns."""
        self._judge(state, ended=False)

    def on_fit_end(self, state: TrainState) -> None:
        """Judge it as a whole."""
        self._judge(state, ended=True)

    def _judge(self, state: TrainState, *, ended: bool) -> None:
        """Judge the learning. Waits for the device."""
        known = self._known()
        for finding in learning(self._stages, known, self._moved(), ended=ended):
            self._say(state, finding)
        if self._unreached:
            self._say(
                state,
                Finding(
                    "unreached",
                    f"no gradient reaches {few(sorted(self._unreached))}: the loss does not depend on what it "
                    "computes. Check that the network uses these layers, or remove them",
                ),
            )

    @torch.no_grad()
    def _moved(self) -> float | None:
        """Return the change of the weights since the start, relative to their size. Waits for the device."""
        if self._start is None:
            return None
        now = torch.cat([each.float() for each in self._sampled])
        change, size = torch.stack([(now - self._start).norm(), self._start.norm()]).tolist()
        return change / size if size else None

    def _say(self, state: TrainState, finding: Finding) -> None:
        """Report a finding once; only on the first rank."""
        if finding.key not in self._said:
            self._said.add(finding.key)
            if state.world.is_first:
                self._tell(finding.text)
