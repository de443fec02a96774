"""A map-style data set of one's own: targets of every kind, and samples that are vectors or several tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from nnrun.base.errors import ConfigError, DataError
from nnrun.base.targets import Targets
from nnrun.components.data.map_style import OwnDataset
from nnrun.components.data.normalize_tree import NormalizeTree
from nnrun.core.seams.data import Dataset, Evaluation, TensorSpec

SETTINGS = {
    "name": "mine",
    "image_size": None,
    "channels": None,
    "on_bad": "error",
    "split_seed": 0,
    "split_by": "content",
    "in_shape": None,
    "white": "auto",
    "resize": "crop",
    "class_order": "natural",
    "targets": "auto",
}
IMAGES = torch.randint(0, 256, (40, 3, 6, 5), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def load(
    given: Any, samples: Any = IMAGES, known: Targets | None = None, names: Any = None, differ: Any = (), **changes: Any
) -> Dataset:
    class Mine:
        classes = names
        sequences = differ

        def __len__(self) -> int:
            return len(given)

        def __getitem__(self, index: int) -> tuple[Any, Any]:
            return (samples(index) if callable(samples) else samples[index]), given[index]

    source = OwnDataset(Mine, [], {}, **(SETTINGS | changes))
    return source.load() if known is None else source.load_for(Evaluation(known, all_is_test=True))


def both(data: Dataset) -> torch.Tensor:
    return torch.cat([data.train.targets, data.test.targets])


TAGS = torch.tensor([[float(i % 2), float(i % 3 == 0)] for i in range(40)])


@pytest.mark.parametrize(
    ("targets", "expected"),
    [
        ([i % 3 for i in range(40)], Targets.classes("012")),
        (["ab"[i % 2] for i in range(40)], Targets.classes("ab")),
        ([float(i % 3) for i in range(40)], Targets.classes("012")),
        ([i / 4 + 0.1 for i in range(40)], Targets.values()),
        (np.linspace(0, 1, 40), Targets.values()),
        (torch.linspace(0, 1, 40)[:, None], Targets.values()),
        (torch.randn(40, 2), Targets.values(["value_0", "value_1"])),
        ([[i, i + 0.5] for i in range(40)], Targets.values(["value_0", "value_1"])),
        (TAGS, Targets.labels(["label_0", "label_1"])),
        (TAGS.bool().numpy(), Targets.labels(["label_0", "label_1"])),
        ([(i % 2, 1 - i % 2, i % 3 == 0) for i in range(40)], Targets.labels(["label_0", "label_1", "label_2"])),
    ],
)
def test_targets_are_what_they_show(targets: Any, expected: Targets) -> None:
    data = load(targets)
    assert data.targets == expected
    if expected.kind != "classes":
        given = torch.as_tensor(np.stack([np.asarray(target, dtype=np.float32) for target in targets])).reshape(40, -1)
        torch.testing.assert_close(both(data).sum(0), given.sum(0))
        assert both(data).dtype == torch.float32


def test_what_is_set_and_what_a_network_has_learned_decide() -> None:
    ages = [20 + i for i in range(40)]
    assert load(ages, targets="values").targets == Targets.values()
    assert load(TAGS, targets="values").targets == Targets.values(["value_0", "value_1"])
    assert load(TAGS, names=["cat", "dog"]).targets == Targets.labels(["cat", "dog"])
    assert load(ages, known=Targets.values(["age"])).targets == Targets.values(["age"])
    assert load([i % 2 for i in range(40)], known=Targets.classes("01")).targets == Targets.classes("01")


@pytest.mark.parametrize(
    ("targets", "changes", "says"),
    [
        ([[0, 1], [1, 0, 1]], {}, "all: sample 1 has a target of 3 numbers, but sample 0 of 2 numbers"),
        ([0.5, [1, 0]], {}, "all: sample 1 has a target of 2 numbers, but sample 0 of one number"),
        ([[0, 1], None], {}, "all: sample 1 has a target of type NoneType; a target is one or more numbers"),
        ([np.zeros((2, 2)), np.zeros((2, 2))], {}, "sample 0 has a target of type ndarray and shape (2, 2)"),
        ([0.5, float("nan")], {}, "all: sample 1 is nan; values must be finite"),
        (["a", "b"], {"targets": "values"}, "all: sample 0 has a target of type str; a target is one or more numbers"),
        ([[0, 1], [1, -1]], {}, "all: sample 1 has -1 for label_1; labels are 0 or 1"),
        (
            [[0, 1], [1, 0]],
            {"targets": "classes"},
            "sample 0 has a label of type list; a label is one number or string",
        ),
    ],
)
def test_a_target_that_is_wrong_is_named(targets: Any, changes: dict[str, Any], says: str) -> None:
    with pytest.raises(DataError) as raised:
        load(targets, **changes)
    assert says in str(raised.value)


AGES = [20.0 + i for i in range(40)]


def person(index: int) -> dict[str, Any]:
    return {
        "image": Image.fromarray(IMAGES[index].permute(1, 2, 0).numpy()),
        "body": {"size": np.array([index, 2.0 * index]), "city": index % 7},
        "flags": torch.tensor([True, index % 2 == 0]),
    }


def test_a_sample_may_be_several_tensors_by_name() -> None:
    data = load(AGES, person, targets="values")
    assert data.input_spec == {
        "image": TensorSpec((3, 6, 5), torch.uint8),
        "body": {"size": TensorSpec((2,), torch.float32), "city": TensorSpec((), torch.int64)},
        "flags": TensorSpec((2,), torch.bool),
    }
    assert data.in_shape == {"image": (3, 6, 5), "body": {"size": (2,), "city": ()}, "flags": (2,)}
    order = both(data)[:, 0].long() - 20
    for split, indices in ((data.train, order[: len(data.train)]), (data.test, order[len(data.train) :])):
        assert torch.equal(split.inputs["image"], IMAGES[indices])
        assert torch.equal(split.inputs["body"]["size"], torch.stack([indices, 2 * indices], 1).float())
        assert torch.equal(split.inputs["body"]["city"], indices % 7)
    assert data.test_is_drawn
    again = load(AGES, person, targets="values")
    assert torch.equal(again.test.targets, data.test.targets)


def test_what_is_measured_of_pixels_and_floats_brings_them_to_one_scale_and_the_rest_stays() -> None:
    data = load(AGES, person, targets="values")
    out = data.preprocessing(data.train.inputs)
    for name, values in (("image", out["image"].transpose(0, 1)), ("size", out["body"]["size"].t())):
        flat = values.flatten(1)
        torch.testing.assert_close(flat.mean(1), torch.zeros(len(flat)), atol=1e-4, rtol=0, msg=name)
        torch.testing.assert_close(flat.std(1, correction=0), torch.ones(len(flat)), atol=1e-4, rtol=0, msg=name)
    assert torch.equal(out["body"]["city"], data.train.inputs["body"]["city"])
    plain = data.preprocessing.to_plain()
    assert set(plain["leaves"]) == {"image", "body.size"}
    rebuilt = NormalizeTree(plain["leaves"])(data.train.inputs)
    assert torch.equal(rebuilt["image"], out["image"])


@pytest.mark.parametrize("kind", [list, np.array, torch.tensor])
def test_a_sample_may_be_a_vector(kind: Any) -> None:
    rows = [[float(i), 2.5 * i, 7.0] for i in range(40)]
    data = load([i % 2 for i in range(40)], [kind(row) for row in rows])
    assert data.in_shape == (3,)
    out = data.preprocessing(data.train.inputs)
    torch.testing.assert_close(out.std(0, correction=0), torch.tensor([1.0, 1, 0]), atol=1e-5, rtol=0)
    tokens = load([i % 2 for i in range(40)], lambda i: torch.tensor([i, i + 1]))
    assert tokens.preprocessing(tokens.train.inputs).dtype == torch.int64
    pair = load([i % 2 for i in range(40)], lambda i: (torch.tensor([float(i)]), torch.tensor([i])))
    assert pair.in_shape == ((1,), (1,))


def change(index: int) -> dict[str, Any]:
    sample = person(index)
    if index == 7:
        sample["body"]["size"] = np.array([1.0, np.nan])
    if index == 8:
        sample["body"]["size"] = np.array([1.0])
    if index == 9:
        del sample["flags"]
    if index == 11:
        sample["flags"] = "none"
    return sample


def test_a_sample_that_is_not_like_the_others_is_named_or_left_out() -> None:
    with pytest.raises(DataError) as raised:
        load(AGES, change, targets="values")
    assert raised.value.messages == (
        "data=mine, all: sample 7: body.size contains NaN or infinity",
        "data=mine, all: sample 8: body.size is (1,) of float32, but (2,) of float32 in the first sample",
        "data=mine, all: sample 9: x has another structure than in the first sample",
        "data=mine, all: sample 11: x contains a str; allowed: tensors, arrays, numbers, PIL images",
        "4 of 40 samples cannot be read; skip them with data.on_bad=skip",
    )
    data = load(AGES, change, targets="values", on_bad="skip")
    assert len(data.train) + len(data.test) == 36
    assert 27.0 not in both(data)
    assert data.findings.facts["skipped"] == 4
    assert "skipped: 4 samples that cannot be read (data.on_bad=skip); run.log names them" in data.findings.notes


@pytest.mark.parametrize(
    ("sample", "says"),
    [
        ({"a": {1: [1.0]}}, "sample 0: x has the key 1; its keys must be strings"),
        (({"a": [1.0]}, {("a", "b"): [1.0]}), "sample 0: x has the key ('a', 'b'); its keys"),
        ({"a": {"b": [1.0]}, "a.b": [1.0]}, "sample 0: two of the inputs have the same name: a.b, a.b"),
    ],
)
def test_parts_that_no_file_could_name_are_refused(sample: Any, says: str) -> None:
    with pytest.raises(DataError) as raised:
        load(AGES, lambda _: sample, targets="values")
    assert says in str(raised.value)


def test_the_settings_of_pictures_have_no_effect_on_what_is_none() -> None:
    with pytest.raises(ConfigError, match=r"data.image_size=8 has no effect: the samples of data=mine are not images"):
        load(AGES, person, targets="values", image_size=8)


def test_samples_of_both_parts_are_counted() -> None:
    """By content none are: copies stay on one side."""
    for split_by, shared in (("position", 8), ("content", 0)):
        same = load([i % 2 for i in range(40)], lambda i: {"a": torch.tensor([float(i % 4)])}, split_by=split_by)
        assert same.findings.facts["in_train_and_test"] == shared


def sequences(of: str = "tokens") -> list[torch.Tensor]:
    draw = torch.Generator().manual_seed(0)
    rows = [torch.randint(1, 9, (index % 6 + (of == "tokens"),), generator=draw) for index in range(40)]
    return rows if of == "tokens" else [torch.stack([row * 2.0, row + 5.0], 1) for row in rows]


def test_sequences_are_padded_and_their_lengths_are_beside_them() -> None:
    rows = sequences("frames")
    data = load([i % 2 for i in range(40)], lambda i: {"frames": rows[i], "age": 1.0 * i}, differ=["frames"])
    assert data.in_shape == {"frames": (None, 2), "age": (), "lengths": ()}
    assert data.facts == {}
    found, _ = data.train.take(torch.arange(len(data.train)))
    there = torch.arange(found["frames"].shape[1]) < found["lengths"][:, None]
    out = data.preprocessing(found)["frames"]
    torch.testing.assert_close(out[there].mean(0), torch.zeros(2), atol=1e-5, rtol=0)
    torch.testing.assert_close(out[there].std(0, correction=0), torch.ones(2), atol=1e-5, rtol=0)
    assert not out[~there].any(), "padding stays 0"
    rebuilt = NormalizeTree(data.preprocessing.to_plain()["leaves"])
    assert torch.equal(rebuilt(found)["frames"], out)


def test_one_sequence_of_whole_numbers_is_alone_as_texts_are() -> None:
    rows = sequences()
    data = load([i % 2 for i in range(40)], lambda i: rows[i], differ=["input"])
    assert (data.in_shape, data.facts) == ((None,), {"vocab_size": 9})
    with pytest.raises(DataError, match="a sequence contains 0, but 0 is its padding"):
        load([i % 2 for i in range(40)], lambda i: rows[i] - 1, differ=["input"])


def test_copies_are_recognized_whatever_the_lengths_beside_them() -> None:
    """Batches are padded differently; by position copies are in both splits."""
    rows = sequences()
    data = load([i % 2 for i in range(40)], lambda i: {"a": rows[i % 4]}, differ=["a"], split_by="position")
    assert data.findings.facts["in_train_and_test"] == len(data.test) > 0
    data = load([i % 2 for i in range(40)], lambda i: {"a": rows[i % 4]}, differ=["a"])
    assert data.findings.facts["in_train_and_test"] == 0
