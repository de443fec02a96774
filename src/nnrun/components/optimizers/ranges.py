"""Allowed values of the optimizers' parameters. Needs no torch."""

from __future__ import annotations

from nnrun.config.conflicts import Conflict
from nnrun.config.no_effect import Idle
from nnrun.config.ranges import FRACTION, NOT_NEGATIVE, POSITIVE, number, several, whole

BETAS = several(number(0, 1, below=True), 2)

RANGES = {
    "optimizer.lr": POSITIVE,
    "optimizer.adamw_lr": POSITIVE,
    "optimizer.betas": BETAS,
    "optimizer.adamw_betas": BETAS,
    "optimizer.eps": NOT_NEGATIVE,
    "optimizer.adamw_eps": NOT_NEGATIVE,
    "optimizer.weight_decay": NOT_NEGATIVE,
    "optimizer.adamw_weight_decay": NOT_NEGATIVE,
    "optimizer.momentum": number(0, 1, below=True),
    "optimizer.alpha": number(0, 1, below=True),
    "optimizer.dampening": FRACTION,
    "optimizer.lr_decay": NOT_NEGATIVE,
    "optimizer.momentum_decay": NOT_NEGATIVE,
    "optimizer.ns_steps": whole(1, 99),
}

CONFLICTS = (
    Conflict(
        ("optimizer.nesterov", "optimizer.momentum"),
        lambda nesterov, momentum: nesterov and momentum == 0,
        "optimizer.nesterov=true needs optimizer.momentum above 0; set optimizer.nesterov=false",
    ),
    Conflict(
        ("optimizer.nesterov", "optimizer.dampening"),
        lambda nesterov, dampening: nesterov and dampening,
        "optimizer.nesterov=true needs optimizer.dampening=0",
    ),
    Conflict(
        ("optimizer.fused", "optimizer.foreach"),
        lambda fused, foreach: fused and foreach,
        "optimizer.fused=true and optimizer.foreach=true exclude each other; set one of them",
    ),
)

IDLE = (
    Idle(
        ("optimizer.dampening",),
        ("optimizer.dampening", "optimizer.momentum"),
        lambda dampening, momentum: bool(dampening) and momentum == 0,
        "optimizer.dampening={} has no effect with optimizer.momentum=0",
    ),
    Idle(
        ("optimizer.decoupled_weight_decay",),
        ("optimizer.decoupled_weight_decay", "optimizer.weight_decay"),
        lambda decoupled, decay: decoupled is True and decay == 0,
        "optimizer.decoupled_weight_decay=true has no effect with optimizer.weight_decay=0",
    ),
)
