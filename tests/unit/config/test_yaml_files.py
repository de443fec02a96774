"""YAML means the same wherever it is read: in an option's file by Hydra, as a reference, in what a run has written."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from nnrun.base.errors import ConfigError
from nnrun.cli import compose
from nnrun.config.yaml_files import read_yaml, yaml_text

TEXT = """\
a: 1e-2
b: 1E5
c: .5
d: 1_000
e: 0o17
f: yes
g: 2020-01-02
h: &one {q: 1e-3}
i: {<<: *one, r: 2}
j: '1e-2'
"""


def test_numbers_are_read_as_people_write_them(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(TEXT)
    found = read_yaml(path)
    assert found == OmegaConf.to_container(OmegaConf.load(path))
    assert [found[key] for key in "abcdef"] == [0.01, 1e5, 0.5, 1000, "0o17", True]
    assert (found["g"], found["i"], found["j"]) == ("2020-01-02", {"q": 0.001, "r": 2}, "1e-2")


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.from_regex(r"\A[-+\d._eExo]*\Z"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=60, deadline=None)
@given(tree=st.dictionaries(st.text(), plain, max_size=4))
def test_what_is_written_is_read_back_alike(tree: dict, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "written.yaml"
    path.write_bytes(yaml_text(tree).encode())
    assert read_yaml(path) == tree


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: 1\na: 2\n", "line 2: found duplicate key a"),
        ("a:\n\t- b\n", "line 2: found character '\\t'"),
        ("a: *u\n", "line 1: found undefined alias 'u'"),
        ("a: 1\n---\nb: 2\n", "line 2: but found another document"),
        ("[1, 2]", "holds a list"),
        ("a: \x07", "unacceptable character #x0007"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_yaml(path)
    assert str(caught.value).startswith(str(path))
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", ["1e-2", "1E-2", ".01", "1_0.0e-3"])
def test_an_own_option_may_write_a_number_in_any_way(tmp_path: Path, value: str) -> None:
    """Negative control: a text in its place is refused."""
    option = tmp_path / "conf" / "optimizer" / "mine.yaml"
    option.parent.mkdir(parents=True)
    option.write_text(f"_target_: torch.optim.SGD\nlr: {value}\n")
    words, own = ["optimizer=mine"], [tmp_path / "conf"]
    assert compose(words, own).config.optimizer.lr == pytest.approx(0.01)
    assert compose([*words, "optimizer.lr=0.3"], own).config.optimizer.lr == 0.3
    with pytest.raises(ConfigError, match=r"optimizer\.lr is 'fast'"):
        compose([*words, "optimizer.lr=fast"], own)


def test_keys_that_yaml_takes_for_no_text_are_named_with_their_file(tmp_path: Path) -> None:
    # `off` as a parameter of one's own class was a bug of ours, and a null key an empty message.
    path = tmp_path / "mine.yaml"
    path.write_text("dataset: {off: 1, names: {1: a}}\n~: 2\n")
    with pytest.raises(ConfigError) as caught:
        read_yaml(path)
    assert list(caught.value.messages) == [
        f"{path}: a key in dataset is false (or no, off), but must be a string: put it in quotes",
        f"{path}: a key in dataset.names is 1, but must be a string: put it in quotes",
        f"{path}: a key is null (or ~), but must be a string: put it in quotes",
    ]
