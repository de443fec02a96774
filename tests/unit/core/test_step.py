"""What the loop passes to a step, and that the step can be replaced."""

from __future__ import annotations

from dataclasses import replace

import torch

from nnrun.core.loop import fit


def test_the_loop_hands_over_the_batches_of_each_update_and_asks_for_nothing_else(small):
    """20 samples in batches of 8, two to an update: the second update of each epoch is of the short batch alone.

    Negative control: what does not train leaves the weights as they were, where the step itself changes them.
    """
    handed: list[tuple[range, int, list[int]]] = []
    training = small(epochs=2, accumulate=2)
    state, before = training.state, [weight.clone() for weight in training.network.parameters()]

    def step(batches, indices, num_samples):
        handed.append((indices, num_samples, [next(batches).num_samples for _ in indices]))
        state.progress.step += 1

    fit(state, replace(training.work, step=step), training.plan)
    epoch = [(range(2), 16, [8, 8]), (range(2, 3), 4, [4])]
    assert handed == epoch * 2
    assert all(torch.equal(*pair) for pair in zip(before, training.network.parameters(), strict=True))
    trained = small(epochs=2, accumulate=2)
    fit(trained.state, trained.work, trained.plan)
    assert not any(torch.equal(*pair) for pair in zip(before, trained.network.parameters(), strict=True))


def test_a_step_can_be_taken_by_hand(small):
    """As in task=inspect: computing a batch's gradients and then the update gives what the loop's own step does."""
    by_loop, by_hand = small(num_samples=8, ema_decay=0.9), small(num_samples=8, ema_decay=0.9)
    fit(by_loop.state, by_loop.work, by_loop.plan)
    step, (batch,) = by_hand.work.step, by_hand.work.train.epoch(0)
    by_hand.state.set_training()
    loss = step.backward(batch, batch.num_samples)
    assert all(weight.grad is not None for weight in by_hand.network.parameters())
    step.update(loss)
    assert all(weight.grad is None for weight in by_hand.network.parameters())
    assert by_hand.state.progress.step == by_loop.state.progress.step == 1
    for ours, theirs in ((by_hand.network, by_loop.network), (by_hand.state.evaluated, by_loop.state.evaluated)):
        assert all(torch.equal(*pair) for pair in zip(ours.parameters(), theirs.parameters(), strict=True))
