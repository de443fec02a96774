"""Augmented batches: a function of (seed, epoch, index) wherever the samples are; mixed samples and their loss."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from nnrun.base.errors import ConfigError
from nnrun.components.augment.affine import Affine
from nnrun.components.augment.color import Color
from nnrun.components.augment.erasing import Erasing
from nnrun.components.augment.trivialaugment import TrivialAugment
from nnrun.core.augmenter import COLOR, HIDE, SHAPE, Augmenter, partners
from nnrun.core.batches import SplitBatches
from nnrun.core.residency import Layout, samples_at
from nnrun.core.seams.batch import Batch, Mixed
from nnrun.core.seams.data import Split

CPU = torch.device("cpu")
KINDS = [("device", 0), ("memory", 0), ("stream", 0), ("stream", 2)]


class Noise:
    """Add a random number to every value."""

    def __call__(self, raw, generator):
        return raw + torch.rand(raw.shape, generator=generator)


class Halves:
    """Mix each sample with a quarter of its partner."""

    def mix(self, inputs, others, generator):
        return 0.75 * inputs + 0.25 * others, torch.full((len(inputs),), 0.75)


class Whole:
    """Leave each sample unchanged."""

    def mix(self, inputs, others, generator):
        return inputs, torch.ones(len(inputs))


def batches_of(split, plain, parts, where=("device", 0), seed=5):
    samples = samples_at(split, Layout(CPU, False, *where))
    return SplitBatches(samples, plain, 8, 1, Augmenter(parts, seed, CPU))


def numbers(batch):
    return [batch.inputs, batch.targets, batch.weight, *(batch.mixed or ())]


def same(ours, theirs):
    pairs = zip(ours, theirs, strict=True)
    return all(torch.equal(x, y) for one, two in pairs for x, y in zip(numbers(one), numbers(two), strict=True))


@pytest.mark.parametrize("place", KINDS)
@pytest.mark.parametrize("start", [0, 2])
def test_the_bits_are_those_of_seed_epoch_and_index(make_split, plain, place, start):
    split, parts = make_split(20), {"noise": Noise(), "halves": Halves()}
    expected = list(batches_of(split, plain, parts).epoch(3))
    torch.manual_seed(11)
    before = torch.get_rng_state()
    assert same(batches_of(split, plain, parts, place).epoch(3, start), expected[start:])
    assert torch.equal(torch.get_rng_state(), before), "nothing is drawn elsewhere"


def test_negative_control_another_seed_epoch_or_index_is_another_draw(make_split, plain):
    split, parts = make_split(16), {"noise": Noise()}

    def added(batches, epoch):
        """The noise alone, whose draws do not depend on the samples."""
        indices = batches.order(epoch)
        return [b.inputs - split.inputs[row] for b, row in zip(batches.epoch(epoch), indices, strict=True)]

    first, second = added(batches_of(split, plain, parts), 0)
    assert torch.allclose(added(batches_of(split, plain, parts), 0)[0], first)
    later, _ = added(batches_of(split, plain, parts), 1)
    elsewhere, _ = added(batches_of(split, plain, parts, seed=6), 0)
    assert not any(torch.allclose(other, first) for other in (second, later, elsewhere))


def test_batches_of_an_evaluation_have_no_augmenter(make_split, plain):
    split = make_split(8)
    (batch,) = SplitBatches(samples_at(split, Layout(CPU)), plain, 8).epoch(0)
    assert torch.equal(batch.inputs, split.inputs)
    assert batch.mixed is None


def test_stages_go_before_names_and_names_before_what_was_typed():
    said = []

    def part(name, stage):
        class Part:
            def __call__(self, raw, generator):
                said.append(name)
                return raw

        if stage is not None:
            Part.stage = stage
        return Part()

    stages = {"z": SHAPE, "y": COLOR, "b": None, "a": None, "c": HIDE}
    Augmenter({name: part(name, stage) for name, stage in stages.items()}, 0, CPU).augment(torch.zeros(2))
    assert said == ["z", "y", "a", "b", "c"]
    said.clear()
    Augmenter({name: part(name, stages[name]) for name in reversed(stages)}, 0, CPU).augment(torch.zeros(2))
    assert said == ["z", "y", "a", "b", "c"]


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (lambda raw, generator: raw / 255, "augment.own returns torch.float32 (3, 2); allowed: the shapes and types"),
        (lambda raw, generator: raw[1:], "augment.own returns torch.uint8 (2, 2); allowed"),
        (lambda raw, generator: None, "NoneType"),
        (lambda raw, generator: raw.nonsense, "augment.own fails with AttributeError"),
    ],
)
def test_what_an_augmentation_gives_is_checked(function, says):
    class Own:
        def __call__(self, raw, generator):
            return function(raw, generator)

    with pytest.raises(ConfigError) as caught:
        Augmenter({"own": Own()}, 0, CPU).augment(torch.zeros(3, 2, dtype=torch.uint8))
    assert says in str(caught.value)


@pytest.mark.parametrize("num_samples", [1, 2, 3, 7, 8])
def test_partners_are_a_circle_through_the_real_samples(num_samples):
    """Negative control: padding, of weight 0, is not in the circle, wherever it is in the batch."""
    for seed in range(30):
        generator = torch.Generator().manual_seed(seed)
        weight = torch.zeros(8)
        weight[torch.randperm(8, generator=generator)[:num_samples]] = 1
        partner = partners(weight, generator)
        start = at = int(weight.argmax())
        seen = []
        for _ in range(num_samples):
            seen.append(at)
            at = int(partner[at])
        assert at == start
        assert sorted(seen) == weight.nonzero().flatten().tolist()
        assert weight[partner].min() == 1, "nor does a padded one take another padded one"


@pytest.mark.parametrize("num_samples", [1, 2, 40])
def test_partners_are_the_same_whichever_kernels_find_them(num_samples):
    """Negative control: with padding, a batch that is said to be full has other partners."""

    def found(weight, is_full):
        return partners(weight, torch.Generator().manual_seed(3), is_full=is_full).tolist()

    ones = torch.ones(num_samples)
    padded = torch.cat([ones, torch.zeros(5)])
    expected = [found(ones, True), found(padded, False)]
    assert found(ones, False) == expected[0]
    assert found(padded, True) != expected[1]
    torch.use_deterministic_algorithms(True)
    try:
        assert [found(ones, True), found(padded, False)] == expected
        assert found(ones, False) == expected[0]
    finally:
        torch.use_deterministic_algorithms(False)


def test_partners_differ_from_draw_to_draw():
    generator = torch.Generator().manual_seed(0)
    assert len({tuple(partners(torch.ones(8), generator).tolist()) for _ in range(50)}) > 45


def test_a_mixed_batch_says_what_it_is_mixed_of(make_split, plain):
    split = make_split(20)
    split = Split(torch.arange(20.0)[:, None], split.targets)
    for batch in batches_of(split, plain, {"halves": Halves()}).epoch(0):
        real = batch.weight == 1
        # 0.75 own + 0.25 partner, of integers: the result identifies the partner.
        order = batches_of(split, plain, {}).order(0)
        row = order[[bool(torch.equal(split.targets[row], batch.targets)) for row in order].index(True)]
        other = ((batch.inputs[:, 0] - 0.75 * row) / 0.25).round().long()
        assert torch.equal(batch.mixed.targets[real], split.targets[other[real]])
        assert set(other[real].tolist()) == set(row[real].tolist()), "partners are the batch's own real samples"
        assert batch.mixed.share.tolist() == [0.75] * 8


def test_of_several_mixings_each_sample_has_one(make_split, plain):
    augmenter = Augmenter({"halves": Halves(), "whole": Whole()}, 0, CPU)
    inputs, targets = torch.arange(1000.0)[:, None], torch.arange(1000)
    mixed, (others, share) = augmenter.mix(inputs, targets, torch.ones(1000))
    assert set(share.tolist()) == {0.75, 1.0}
    assert 430 < (share == 1).sum() < 570
    assert torch.allclose(mixed[:, 0], share * targets + (1 - share) * others)


def cross_entropy(scores, target):
    return -float(functional.log_softmax(scores.double(), 0)[target])


def test_the_loss_of_a_mixed_sample_is_that_of_both_targets_by_their_shares(small):
    objective = small().objective
    outputs = torch.tensor([[1.0, 2.0, -1.0], [0.5, 0.0, 3.0], [0.0, 0.0, 0.0]])
    targets, others, share = torch.tensor([1, 0, 2]), torch.tensor([0, 2, 1]), torch.tensor([0.75, 0.5, 1.0])
    batch = Batch(None, targets, torch.ones(3), 3, Mixed(others, share))
    by_hand = [
        part * cross_entropy(scores, own) + (1 - part) * cross_entropy(scores, other)
        for scores, own, other, part in zip(outputs, targets, others, share.tolist(), strict=True)
    ]
    assert torch.allclose(objective.losses(outputs, batch), torch.tensor(by_hand, dtype=torch.float32), atol=1e-6)
    plain = objective.losses(outputs, batch._replace(mixed=None))
    assert torch.allclose(plain, objective.loss(outputs, targets, batch))
    assert not torch.allclose(plain, objective.losses(outputs, batch)), "the negative control"


def test_training_accuracy_is_that_of_the_larger_part(small):
    metric = small().objective.train_metric
    outputs, own, other = torch.eye(3)[[0, 1]], torch.tensor([0, 0]), torch.tensor([1, 1])
    batch = Batch(None, own, torch.ones(2), 2, Mixed(other, torch.tensor([0.6, 0.6])))
    sums = metric.init(CPU)
    metric.update(sums, outputs, torch.zeros(2), batch)
    assert metric.compute(sums)["accuracy"] == 0.5


def test_floats_of_another_scale_are_refused_by_what_takes_one_for_white():
    def check(raw, **parts):
        Augmenter(parts, 0, torch.device("cpu")).check_range(raw)

    kinds = {"color": Color((3, 4, 4)), "trivialaugment": TrivialAugment((3, 4, 4)), "erasing": Erasing((3, 4, 4))}
    raw = torch.linspace(0, 1, 96).view(2, 3, 4, 4)
    check(raw, **kinds)
    check((raw * 255).to(torch.uint8), **kinds)
    for name, kind in kinds.items():
        with pytest.raises(ConfigError, match=f"augment.{name} takes uint8, or floats from 0 to 1, .* from -1 to 3"):
            check(raw * 4 - 1, **{name: kind})
    # Negative control: augmentations that take any scale.
    check(raw * 4 - 1, digits=Affine((3, 4, 4)), erasing=Erasing((3, 4, 4), fill="black"))
