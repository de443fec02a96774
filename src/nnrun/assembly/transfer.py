"""Start a network from pretrained weights, and fine-tune it as `transfer` says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from nnrun.assembly.heads import Head
from nnrun.assembly.initial_weights import built_otherwise
from nnrun.assembly.instantiate import published_weights
from nnrun.base.errors import ArtifactError, ConfigError
from nnrun.base.paths import expanded
from nnrun.base.shown import counted
from nnrun.base.targets import Targets
from nnrun.base.visible import few
from nnrun.checkpoints.folder import load_weights
from nnrun.checkpoints.foreign_weights import weights_for
from nnrun.checkpoints.saved_run import SavedWeights
from nnrun.config.schema import TransferSettings
from nnrun.config.source import open_saved
from nnrun.core.plan import Plan
from nnrun.core.state import TrainState
from nnrun.core.transfer.feature_cache import DoesNotPay, cache_features
from nnrun.core.transfer.freezing import Freezing, frozen_names
from nnrun.core.transfer.layers import distances, find_head
from nnrun.core.work import Work
from nnrun.runs.console import Console

# Auxiliary classifiers, which some published networks use in training, and nnrun's do not.
_AUXILIARY = ("aux1.", "aux2.", "AuxLogits.")


# The argument of an optimizer: parameters, or groups of them with their own settings.
Groups = list[Tensor] | list[dict[str, Any]]


@dataclass(frozen=True)
class Transfer:
    """The meaning of `transfer` for one network: its head, if that is needed, and what is frozen."""

    settings: TransferSettings
    head: str | None
    freezing: Freezing

    @property
    def may_cache(self) -> bool:
        """Whether everything but the head is frozen at first, so that the backbone's features can be kept."""
        return self.settings.freeze == "backbone" and self.settings.cache is not False


def plan_transfer(settings: TransferSettings, network: nn.Module, targets: Targets) -> Transfer:
    """Return the meaning of `transfer` for a network; raise ConfigError where it does not apply."""
    asks_for_head = (
        settings.freeze == "backbone"
        or settings.head is not None
        or settings.layer_decay is not None
        or (settings.head_lr_factor, settings.backbone_lr_factor) != (1, 1)
    )
    head = find_head(network, targets.num_outputs, settings.head) if asks_for_head else None
    epoch = settings.unfreeze_epoch
    freezing = Freezing(frozen_names(network, settings.freeze, head), None if epoch is None else epoch - 1)
    return Transfer(settings, head, freezing)


def load_pretrained(
    transfer: Transfer,
    pretrained: SavedWeights | None,
    model: Mapping[str, Any],
    network: nn.Module,
    targets: Targets,
) -> str:
    """Load the weights that `transfer.weights` names (None: the published ones); return a line that describes it.

    The head keeps its random initialization if the file is for other classes or has no head, and the first
    convolution's weights are adapted to the channels of the images. Raises ArtifactError where anything else differs.
    """
    notes: list[str] = []
    theirs: Targets | None = None
    if pretrained is None:
        weights, path, theirs, fresh = published_weights(model)
        notes += _keep_fresh(weights, fresh, network, transfer, targets)
    else:
        weights, notes = weights_for(network, pretrained)
        theirs, path = pretrained.targets, pretrained.path
        pretrained.file.close()
    wanted = network.state_dict()
    weights = {k: tensor for k, tensor in weights.items() if k in wanted or not k.startswith(_AUXILIARY)}
    head = Head(transfer.settings.head, transfer.freezing, targets)
    notes += head.fit(weights, network, theirs)
    notes += fit_channels(weights, network)
    try:
        load_weights(network, weights, path)
    except ArtifactError as error:
        if built := built_otherwise(pretrained, model):
            raise ArtifactError(f"{error}; its network was built with {built}; use the same") from error
        if model.get("stem") in ("auto", "small"):
            raise ArtifactError(f"{error}; weights trained on photos need model.stem=imagenet") from error
        raise
    loaded = "loaded all other weights" if notes else "loaded all weights"
    return "; ".join([f"starting from {path}", *notes, loaded])


def _keep_fresh(
    weights: dict[str, Tensor], fresh: Sequence[str], network: nn.Module, transfer: Transfer, targets: Targets
) -> list[str]:
    """Put the network's random weights of layers that a file lacks, but for the head's, into `weights`; return notes.

    Raises ConfigError where such a layer would stay frozen.
    """
    if not fresh:
        return []
    head = find_head(network, targets.num_outputs, transfer.settings.head)
    own = network.state_dict()
    names = [name for name in fresh if name in own and not name.startswith(head + ".")]
    layers = sorted({name.rpartition(".")[0] for name in names})
    if frozen := [name for name in names if not transfer.freezing.ever_trains(name)]:
        what = few(sorted({name.rpartition(".")[0] for name in frozen}))
        others = sorted({name.partition(".")[0] for name in own if name not in fresh})
        patterns = ",".join(f"{name}.*" for name in others if name != head.partition(".")[0])
        hint = f"; use transfer.freeze=[{patterns}]" if patterns else ""
        raise ConfigError(f"transfer.freeze freezes {what}, which the weights lack and which would stay random{hint}")
    weights |= {name: own[name] for name in names}
    return [f"{few(layers)} is new: the file has no weights for it"] if layers else []


def fit_channels(weights: dict[str, Tensor], network: nn.Module) -> list[str]:
    """Adapt the first convolution's weights to another number of channels, in place; return notes.

    The sum over the file's channels is spread equally over the new ones: a gray image, in any number of channels, gives
    the same output.
    """
    first = next((name for name, module in network.named_modules() if isinstance(module, nn.Conv2d)), None)
    name = f"{first}.weight"
    if first is None or name not in weights:
        return []
    theirs, ours = weights[name], network.state_dict()[name]
    before, now = theirs.shape[1:2], ours.shape[1:2]
    if theirs.dim() != 4 or before == now or theirs.shape[:1] + theirs.shape[2:] != ours.shape[:1] + ours.shape[2:]:
        return []
    weights[name] = (theirs.sum(1, keepdim=True) / now[0]).expand_as(ours).contiguous()
    if now[0] == 1:
        return [f"{first} takes 1 channel, with the sum of the file's {before[0]}"]
    return [f"{first} takes {now[0]} channels, each with 1/{now[0]} of the sum of the file's {before[0]}"]


def parameter_groups(network: nn.Module, transfer: Transfer) -> Groups:
    """Return the parameters that ever train, in groups if their settings differ.

    A group has `lr_factor`, by which `scale_rates` multiplies its learning rate, and `weight_decay` 0 if it has none.
    """
    settings, groups = transfer.settings, dict[tuple[float, bool], list[Tensor]]()
    far = distances(network, transfer.head) if transfer.head is not None else {}
    for name, parameter in network.named_parameters():
        if (parameter.requires_grad or name in transfer.freezing.names) and transfer.freezing.ever_trains(name):
            factor = 1.0
            if transfer.head is not None:
                factor = settings.backbone_lr_factor if far[name] else settings.head_lr_factor
                factor *= (settings.layer_decay or 1.0) ** far[name]
            decays = not (settings.no_decay_norms and (parameter.ndim <= 1 or name.rpartition(".")[2] == "bias"))
            groups.setdefault((factor, decays), []).append(parameter)
    if groups.keys() <= {(1.0, True)}:
        return groups.get((1.0, True), [])
    return [
        {"params": members, "lr_factor": factor} | ({} if decays else {"weight_decay": 0.0})
        for (factor, decays), members in groups.items()
    ]


def members(groups: Groups) -> list[Tensor]:
    """Return all parameters in the groups."""
    return [tensor for item in groups for tensor in (item["params"] if isinstance(item, dict) else [item])]


def scale_rates(optimizer: Optimizer) -> None:
    """Multiply the learning rate of each group by its factor; schedules keep the ratios."""
    for group in optimizer.param_groups:
        group["lr"] *= group.get("lr_factor", 1.0)


def open_pretrained(settings: TransferSettings, model: Mapping[str, Any]) -> SavedWeights | None:
    """Open the file that `transfer.weights` names; return None if it names none.

    Raises ConfigError or ArtifactError where the weights, including published ones, do not exist, before data is read.
    """
    if settings.weights == "default":
        published_weights(model, only_check=True)
    elif settings.weights is not None:
        return open_saved(expanded(settings.weights))
    return None


def keep_features(transfer: Transfer, state: TrainState, work: Work, plan: Plan, console: Console) -> tuple[Work, bool]:
    """Return the work, with batches of cached features if possible, and the value of `transfer.cache` to record.

    Caching needs a frozen backbone and no augmentation. If it is not possible, `transfer.cache=true` raises
    ConfigError, and `auto` prints a note.
    """
    wanted = transfer.settings.cache
    if not transfer.may_cache or transfer.head is None or work.train.is_augmented:
        return work, False
    if not state.freezing.holds(state.progress.epoch) or plan.is_done(state.progress):
        return work, bool(wanted)
    try:
        if work.objective.loss.takes_inputs:
            raise DoesNotPay("the loss takes the network's input")
        train, valid = cache_features(state, transfer.head, work.train, work.valid, work.poll)
    except DoesNotPay as reason:
        if wanted is True:
            raise ConfigError(f"transfer.cache=true is not possible here: {reason}; leave it at auto") from reason
        console.note(f"not caching the frozen backbone's features: {reason}")
        return work, False
    console.say(f"caching the frozen backbone's features of {counted(train.num_samples, 'sample')}")
    return replace(work, train=train, valid=valid), True
