"""A labels.csv beside images: what it lists, what is learned of it, and everything that can be wrong with it."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
import torch

from nnrun.base.errors import ConfigError, DataError
from nnrun.base.targets import Targets
from nnrun.components.data import readable
from nnrun.components.data.csv_table import read_table
from nnrun.components.data.folder import Folder
from nnrun.components.data.table_targets import Columns, learned_of_columns
from nnrun.core.seams.data import Dataset, Evaluation
from support.pictures import SETTINGS, make_folder, pictures, save

NAMES = [f"{index}.png" for index in range(6)]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NNRUN_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Six images, 0.png to 5.png, of which no two are alike."""
    for name, picture in zip(NAMES, pictures(6, 0), strict=True):
        save(tmp_path / "pics" / name, picture)
    return tmp_path / "pics"


def load(root: Path, csv: str | bytes | None = None, known: Targets | None = None, **changes) -> Dataset:
    if csv is not None:
        (root / "labels.csv").write_bytes(csv.encode() if isinstance(csv, str) else csv)
    source = Folder(str(root), **(SETTINGS | {"test_fraction": 0.4} | changes))
    return source.load() if known is None else source.load_for(Evaluation(known, all_is_test=True))


def learned(data: Dataset) -> dict[str, list[float] | int]:
    """What is to be learned of each file, by its name."""
    found = {}
    for split in (data.train, data.valid, data.test):
        if split is not None:
            for name, target in zip(split.names, split.targets.tolist(), strict=True):
                found[Path(name).name] = target
    return found


def listed(cells: list[str], title: str = "labels", delimiter: str = ",") -> str:
    return "\n".join([f"file{delimiter}{title}", *map(delimiter.join, zip(NAMES, cells, strict=True))]) + "\n"


TAGS = ["cat dog", "cat", "", "dog", "cat dog", "bird"]
CAT_DOG = {"0.png": [0, 1, 1], "1.png": [0, 1, 0], "2.png": [0, 0, 0], "3.png": [0, 0, 1], "4.png": [0, 1, 1]}


@pytest.mark.parametrize("separator", [" ", ";", "|", " ; ", "; "])
def test_names_in_a_cell_are_labels_several_or_none(root: Path, separator: str) -> None:
    data = load(root, listed([f'"{cell.replace(" ", separator)}"' for cell in TAGS]))
    assert data.targets == Targets.labels(["bird", "cat", "dog"])
    assert learned(data) == {**CAT_DOG, "5.png": [1, 0, 0]}
    assert data.train.targets.dtype == torch.float32
    assert (len(data.train), len(data.test), data.test_is_drawn) == (4, 2, True)


def test_a_column_for_each_label_holds_0_and_1(root: Path) -> None:
    rows = ["1,0", "0,0", "1,1", "0,1", "1.0,0.0", "True,false"]
    data = load(root, listed(rows, "cat,dog"))
    assert data.targets == Targets.labels(["cat", "dog"])
    assert learned(data) == dict(zip(NAMES, [[1, 0], [0, 0], [1, 1], [0, 1], [1, 0], [1, 0]], strict=True))


def test_numbers_are_values_by_the_titles_of_their_columns(root: Path) -> None:
    rows = ["1.5,-2", "0,3", "1e-3,.5", "+4,5.", "6,7", "8,9"]
    data = load(root, listed(rows, "height,width"))
    assert data.targets == Targets.values(["height", "width"])
    assert learned(data)["2.png"] == pytest.approx([0.001, 0.5])
    one = load(root, listed(["1.5", "2", "3", "-4", "5", "6"], "age"))
    assert (one.targets, learned(one)["3.png"]) == (Targets.values(["age"]), [-4])


def test_one_name_in_each_cell_is_a_class(root: Path) -> None:
    data = load(root, listed(["cat", "dog", "caf\u00e9", "dog", "caf\u00e9", "cat"], "label"))
    assert data.targets == Targets.classes(["caf\u00e9", "cat", "dog"])
    assert learned(data) == dict(zip(NAMES, [1, 2, 0, 2, 0, 1], strict=True))


@pytest.mark.parametrize(
    ("cells", "kind", "note"),
    [
        (["1", "2", "1", "2", "10", "10"], "classes", "labels contains whole numbers, read as classes"),
        (["a b", "a", "b", "a b", "a", "b"], "labels", "labels is read as labels separated by spaces"),
        (["big cat", "dog", "dog", "big cat", "ox", "ox"], "classes", "labels is read as classes of several words"),
        (['"a, b"', "a", "b", "b", "a", "b"], "labels", "labels is read as labels separated by commas"),
    ],
)
def test_what_may_be_meant_otherwise_is_said_and_can_be_set(root: Path, cells: list[str], kind: str, note: str) -> None:
    data = load(root, listed(cells))
    assert data.targets.kind == kind
    assert [note in said for said in data.findings.notes].count(True) == 1
    other = {"classes": "labels", "labels": "classes"}[kind]
    assert load(root, targets=other).targets.kind == other
    if cells[0] == "1":
        assert load(root, targets="values").targets == Targets.values(["labels"])


def test_columns_are_chosen(root: Path) -> None:
    csv = listed([f"{i},{'ab'[i % 2]},{i / 2 + 0.25}" for i in range(6)], "number,kind,size")
    assert load(root, csv, target="size").targets == Targets.values(["size"])
    assert load(root, target=["size", "number"]).targets == Targets.values(["size", "number"])
    assert load(root, target=["kind"]).targets == Targets.classes("ab")
    for target, says in (
        ("sise", "data.target names sise, which is not a column of .*labels.csv; did you mean 'size'"),
        (
            ["size", "weight"],
            "data.target names weight, which is not a column of .*labels.csv; it has number, kind, size",
        ),
        ("file", "data.target names file, which is not a column"),
    ):
        with pytest.raises(ConfigError, match=says):
            load(root, target=target)
    with pytest.raises(
        DataError,
        match=r"line 2: kind is a; values are finite numbers; correct the cell, or choose other columns",
    ):
        load(root)


def test_a_column_or_folders_say_the_parts(root: Path, tmp_path: Path) -> None:
    data = load(
        root, listed(["a,train", "b,Train", "a,train", "b,val", "a,test", "b,TEST"], "label,split"), test_fraction=None
    )
    assert [[Path(name).name for name in split.names] for split in (data.train, data.valid, data.test)] == [
        NAMES[:3],
        NAMES[3:4],
        NAMES[4:],
    ]
    assert not data.test_is_drawn
    other = tmp_path / "parts"
    for place in ("train/1.png", "train/2.png", "train/3.png", "test/4.png", "test/5.png"):
        save(other / place, pictures(9, 0)[int(Path(place).stem)])
    csv = "file,label\ntrain/1.png,a\ntrain/2.png,b\ntrain/3.png,b\ntest/4.png,a\ntest/5.png,b\n"
    data = load(other, csv, test_fraction=None)
    assert (len(data.train), len(data.test), data.test_is_drawn) == (3, 2, False)


SAME = listed(TAGS)


@pytest.mark.parametrize(
    "csv",
    [
        b"\xef\xbb\xbf" + SAME.encode(),
        SAME.encode("utf-16"),
        SAME.replace("\n", "\r\n"),
        SAME.replace("\n", "\r"),
        SAME.rstrip("\n"),
        "\n\n" + SAME.replace("\n", "\n\n"),
        SAME.replace(",", ";"),
        SAME.replace(",", "\t"),
        "sep=;\r\n" + SAME.replace(",", ";"),
        SAME.replace(",", " , "),
        "labels,file\n" + "".join(f"{tags},{name}\n" for name, tags in zip(NAMES, TAGS, strict=True)),
        "image,labels\n" + SAME.partition("\n")[2],
        "tags,where\n" + "".join(f"{tags},{name}\n" for name, tags in zip(NAMES, TAGS, strict=True)),
        ",where,tags\n" + "".join(f"{i},{name},{TAGS[i]}\n" for i, name in enumerate(NAMES)),
        SAME.replace("0.png", '"0.png"').replace("cat dog", '"cat dog"'),
        SAME.replace("0.png", "./0.png").replace("1.png", ".\\1.png"),
        SAME.replace("\n", ",\n"),
    ],
    ids=[
        *("bom", "utf-16", "crlf", "cr", "no last end", "blank lines", "semicolons", "tabs", "sep", "spaces"),
        *("other order", "other title", "other title, other order", "an index", "quotes", "dots", "empty column"),
    ],
)
def test_the_same_file_in_another_form_says_the_same(root: Path, csv: str | bytes) -> None:
    data = load(root, csv)
    assert data.targets == Targets.labels(["bird", "cat", "dog"])
    assert learned(data) == {**CAT_DOG, "5.png": [1, 0, 0]}
    assert not data.findings.notes or "spaces" in data.findings.notes[0]


def test_decimal_commas_are_read_where_they_divide_no_columns(root: Path) -> None:
    data = load(root, listed(["1,5", "2,25", "3", "-4,5", "5", "6"], "size", ";"))
    assert (data.targets, learned(data)["1.png"]) == (Targets.values(["size"]), [2.25])
    with pytest.raises(DataError, match=r"line 2: size is 1,5; write 1.5, or separate the columns with semicolons"):
        load(root, listed(['"1,5"', "2", "3", "4", "5", "6"], "size"), targets="values")


@pytest.mark.parametrize(
    ("csv", "says"),
    [
        ("", "labels.csv is empty: write a header line"),
        (" \n\n", "labels.csv is empty"),
        ("file,labels\n", "labels.csv has a header line but no samples"),
        ("file\n0.png\n", "labels.csv has no column besides file: there is no target to learn"),
        ("file,a,a\n0.png,1,0\n", "labels.csv has two columns with the title a"),
        ("file,label\n0.png,a\n1.png,a,b\n2.png\n", "labels.csv, line 3 has 3 cells, but the header has 2"),
        ('file,label\n0.png,"a\n1.png,b\n', "labels.csv, line 2: a quote that opens in this row is never closed"),
        ('file,label\n0.png,"a"b\n1.png,b\n', "labels.csv, line 2: text follows a closing quote"),
        (b"file,label\n0.png,a\n1.png,caf\xe9\n", "labels.csv, line 3 is not UTF-8; save the file as UTF-8"),
        ("file,label\n,a\n", "line 2:  is empty: it names no file"),
        ("file,label\n../0.png,a\n", "line 2: ../0.png leads outside data.root"),
        ("file,label\n/etc/passwd,a\n", "line 2: /etc/passwd leads outside data.root"),
        ("file,label\nC:\\pics\\0.png,a\n", r"line 2: C:\pics\0.png leads outside data.root"),
        ("file,label\n..\\0.png,a\n", r"line 2: ..\0.png leads outside data.root"),
        ("file,label\n0.png,a\n7.png,a\n8.PNG,b\n", "line 3: 7.png does not exist"),
        (
            "label," + ",".join(f"pixel{n}" for n in range(64)) + "\n99" + ",77" * 64,
            "the files of 1 of 1 lines are missing; for a table of pixels use data=arrays data.root=",
        ),
        (
            "file,label\n0.png,a\n7.png,a\n8.PNG,b\n",
            "the files of 2 of 3 lines are missing; skip them with data.on_bad=skip",
        ),
        ("file,label\n0.PNG,a\n1.png,b\n", "line 2: 0.PNG does not exist; 0.png does"),
        ("file,label\n0.png,a\n1.png,b\n0.png,b\n", "line 4: 0.png is already in line 2, with different values"),
        ("file,label,split\n0.png,a,train\n1.png,b,holdout\n", "line 3: split is holdout; allowed: train, valid, test"),
        ("file,label,split\n0.png,a,train\n1.png,b,\n", "line 3: split is empty; allowed: train, valid, test"),
        ("file,label,split\n0.png,a,test\n1.png,b,test\n", "lists no training samples, only test"),
        ("file,x,y\n0.png,1,2\n1.png,,3\n", "line 3: x is empty; values are finite numbers; remove the line"),
        ("file,x,y\n0.png,1,2\n1.png,nan,3\n", "line 3: x is nan; values are finite numbers"),
        ("file,x,y\n0.png,1,2\n1.png,1e39,3\n", "line 3: x is 1e39; values are finite numbers"),
        ("file,x,y\n0.png,1,0\n1.png,1_0,1\n", "line 3: x is 1_0; values are finite numbers"),
        ("file,x\n0.png,1.5\n1.png,2.5\n2.png,nan\n", "line 4: x is nan; values are finite numbers"),
        ("file,x\n0.png,1.5\n1.png,2.5\n2.png,1e39\n3.png,\n", "line 4: x is 1e39; values are finite numbers"),
        ("file,label\n0.png,a\n1.png,a\n", "all labels are a; classification needs at least two classes"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(root: Path, csv: str | bytes, says: str) -> None:
    with pytest.raises(DataError) as raised:
        load(root, csv)
    assert says in str(raised.value)


@pytest.mark.parametrize(
    ("csv", "kind", "says"),
    [
        (
            "file,x,y\n0.png,1,0\n1.png,-1,1\n",
            "labels",
            "line 3: x is -1; labels are 0 or 1 in a column each, or names in",
        ),
        ("file,x,y\n0.png,1,0\n1.png,,1\n", "labels", "line 3: x is empty; labels are 0 or 1 in a column each"),
        (
            "file,x,y\n0.png,1,0\n1.png,0,1\n",
            "classes",
            "has the columns x, y: classes are in one column; choose it with",
        ),
        ("file,label\n0.png,a\n1.png,\n", "classes", "line 3: label is empty; each sample needs a class"),
        ("file,label\n0.png,\n1.png,\n", "labels", "no cell of label names a label"),
        ("file,age\n0.png,a\n1.png,3\n", "values", "line 2: age is a; values are finite numbers"),
    ],
)
def test_what_is_set_and_not_there_is_named(root: Path, csv: str, kind: str, says: str) -> None:
    with pytest.raises(DataError) as raised:
        load(root, csv, targets=kind)
    assert says in str(raised.value)


def test_values_that_float32_rounds_are_named(root: Path) -> None:
    """Seconds of this century: float32 has one number for 128 of them. Negative control: their differences are kept."""
    note = "labels.csv: float32 rounds values by more than 0.1 % of their standard deviation; subtract a common offset"
    data = load(root, listed([str(1.7e9 + 60 * i) for i in range(6)], "seconds"))
    assert any(said.endswith(note) for said in data.findings.notes)
    data = load(root, listed([f"{60.5 * i}" for i in range(6)], "seconds"))
    assert not any(said.endswith(note) for said in data.findings.notes)


def test_numbers_with_a_word_among_them_may_be_classes(root: Path) -> None:
    """The negative control of a slip among numbers: few whole numbers, or a number among words."""
    for cells in (["1", "1", "1", "2", "2", "none"], ["1.5", "1.5", "a", "a", "b", "b"]):
        (root / "labels.csv").write_text(listed(cells))
        given = Columns(read_table(root / "labels.csv"), [1], {"all": range(len(cells))})
        assert learned_of_columns(given, "auto", "natural").targets == Targets.classes(dict.fromkeys(cells))


def test_no_column_to_learn_is_said_as_it_was_asked_for(root: Path) -> None:
    with pytest.raises(DataError, match=r"data\.target=\[\] names no column: there is no target to learn"):
        load(root, "file,x\n0.png,1.5\n1.png,2.5\n", target=[])


def test_names_that_command_a_terminal_are_escaped(root: Path) -> None:
    with pytest.raises(DataError) as raised:
        load(root, "file,label\n\x1b[2J.png,a\n1.png,b\n")
    assert "\x1b" not in str(raised.value)
    assert r"\x1b[2J.png does not exist" in str(raised.value)


def test_files_that_are_not_there_or_damaged_are_left_out_and_counted(root: Path) -> None:
    (root / "1.png").write_bytes(b"no image")
    csv = "file,x\n0.png,1.5\n1.png,2.5\n2.png,3.5\n3.png,4.5\n9.png,5.5\n"
    with pytest.raises(DataError, match=r"9.png does not exist"):
        load(root, csv)
    data = load(root, on_bad="skip")
    assert learned(data) == {"0.png": [1.5], "2.png": [3.5], "3.png": [4.5]}
    facts = data.findings.facts
    assert (facts["skipped"], facts["missing"], facts["unlabelled"]) == (1, 1, 2)
    notes = "\n".join(data.findings.notes)
    assert "skipped: 1 missing file of labels.csv (data.on_bad=skip)" in notes
    assert "skipped: 2 image files that labels.csv does not list (4.png, 5.png); run.log names them" in notes
    assert any("9.png does not exist" in line for line in data.findings.details)
    assert any(line.endswith("4.png is not in labels.csv") for line in data.findings.details)


def test_a_file_that_is_listed_twice_with_the_same_labels_is_taken_once(root: Path) -> None:
    data = load(root, SAME + "0.png,cat dog\n./1.png,cat\n")
    assert len(data.train) + len(data.test) == 6
    assert "2 repeated lines of labels.csv with the same values: each file is used once" in data.findings.notes


def test_paths_are_found_as_people_write_them(root: Path) -> None:
    """With Windows' separators, in either Unicode form, without a suffix, in another case of it, or below a folder."""
    for place in ("deep/er/a.JPG", "deep/b.png", unicodedata.normalize("NFD", "caf\u00e9.png"), "one/c.png"):
        save(root / place, pictures(9, 1)[len(place) % 9])
    csv = "file,size\ndeep\\er\\a.JPG,1.5\ndeep/b,2.5\ncaf\u00e9.png,3.5\nc.png,4.5\n"
    data = load(root, csv, labels="labels.csv")
    assert sorted(map(sum, learned(data).values())) == [1.5, 2.5, 3.5, 4.5]
    assert "1 file of labels.csv found in subfolders of data.root that it does not name" in data.findings.notes
    save(root / "two/c.png", pictures(9, 1)[8])
    with pytest.raises(
        DataError,
        match=r"line 5: c.png matches several images \(one/c.png, two/c.png\): write its path relative to data.root",
    ):
        load(root, labels="labels.csv")
    (root / "plain").write_bytes((root / "0.png").read_bytes())
    (root / "link.png").symlink_to(root / "1.png")
    assert len(learned(load(root, "file,size\nplain,1.5\nlink.png,2.5\n2.png,0.5\n", target="size"))) == 3


def test_whole_paths_of_images_in_the_folder_are_taken(root: Path) -> None:
    lines = [f"{root / f'{number}.png'},{label}" for number, label in enumerate(("cat", "dog", "cat"))]
    whole = load(root, "\n".join(["file,label", *lines]))
    assert learned(whole) == learned(load(root, "file,label\n0.png,cat\n1.png,dog\n2.png,cat\n"))
    with pytest.raises(DataError, match=r"/\.\./0.png leads outside data.root"):
        load(root, f"file,label\n{root}/../0.png,cat\n1.png,dog\n")


def test_the_file_may_have_another_name_and_lie_elsewhere(root: Path, tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "mine.csv").write_text(SAME)
    monkeypatch.chdir(tmp_path)
    assert load(root, labels="mine.csv").targets == load(root, labels=str(tmp_path / "mine.csv")).targets
    (root / "other.csv").write_text(SAME)
    assert load(root, labels="other.csv").targets == Targets.labels(["bird", "cat", "dog"])
    with pytest.raises(DataError, match=r"data.labels=none.csv does not exist, neither here nor in"):
        load(root, labels="none.csv")
    with pytest.raises(DataError, match=r"data.root=.*gone does not exist"):  # and not of the list in it
        load(root / "gone", labels="none.csv")
    with pytest.raises(
        DataError, match=r"learning labels needs a file labels.csv in data.root=.*, or data.labels=FILE"
    ):
        load(root, targets="labels")


def test_class_folders_come_first_unless_the_file_is_named(tmp_path: Path) -> None:
    """Where the folders are no classes, as those of parts, the file is read by itself."""
    root = make_folder(tmp_path / "both", {"": 3})
    csv = "file,size\nant/000.png,1.5\nbee/000.png,2.5\n" + "cat \u00e9/000.png,3.5\n"
    data = load(root, csv)
    assert data.targets.kind == "classes"
    assert data.findings.notes == (
        "labels.csv is not read: the folders are the classes; use data.labels=labels.csv to read it",
    )
    assert load(root, labels="labels.csv").targets == Targets.values(["size"])
    assert load(root, targets="values").targets == Targets.values(["size"])
    assert load(root, target="size").targets == Targets.values(["size"])
    assert load(root, known=Targets.values(["size"])).targets == Targets.values(["size"])


def test_other_labels_of_the_same_files_are_not_decoded_again(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = load(root, SAME)

    def decoded_again(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(readable, "decode_sample", decoded_again)
    assert load(root, SAME).fingerprint == first.fingerprint
    lines = SAME.splitlines()
    assert load(root, "\n".join([lines[0], *reversed(lines[1:])])).fingerprint == first.fingerprint, (
        "the order is nobody's"
    )
    assert load(root, SAME.replace("bird", "cat")).fingerprint != first.fingerprint


def test_a_trained_network_decides_what_the_columns_are(root: Path) -> None:
    known = Targets.labels(["dog", "cat", "bird"])
    data = load(root, SAME, known)
    assert data.targets == known
    assert learned(data)["0.png"] == [1, 1, 0]
    assert len(data.test) == 6
    with pytest.raises(
        DataError, match="line 7: labels is bird; bird is not a label of the network; its labels are dog"
    ):
        load(root, known=Targets.labels(["dog", "cat"]))
    columns = listed([f"{i}.5,{i}.25" for i in range(6)], "height,width")
    data = load(root, columns, Targets.values(["width", "height"]))
    assert learned(data)["3.png"] == [3.25, 3.5]
    with pytest.raises(DataError, match="has no column depth, which the network has learned; it has height, width"):
        load(root, known=Targets.values(["depth"]))
    assert load(root, listed(["a", "b", "a", "b", "a", "b"]), Targets.classes("abc")).targets == Targets.classes("abc")
    with pytest.raises(DataError, match=r"data.targets=values, but the network has learned 3 labels"):
        load(root, SAME, known, targets="values")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("labels.csv", "0.png,cat\n1.png,dog\n2.png,cat\n3.png,dog\n"),
        ("labels.csv", "cat;0.png\ndog;1.png\ncat;2.png\ndog;3.png\n"),
        ("labels.csv", "file label\n0.png cat\n1.png dog\n2.png cat\n3.png dog\n"),
        ("labels.txt", "0.png cat\n1.png dog\n\n2.png cat\n3.png dog\n"),
        ("labels.txt", "0 cat\n1 dog\n2 cat\n3 dog\n"),
        ("labels.txt", "image\tlabel\n0.png\tcat\n1.png\tdog\n2.png\tcat\n3.png\tdog\n"),
        ("labels.tsv", "id\tkind\n0\tcat\n1\tdog\n2\tcat\n3\tdog\n"),
        ("labels.csv", ",image_id,label\n0,0,cat\n1,1,dog\n2,2,cat\n3,3,dog\n"),
    ],
)
def test_a_list_is_read_as_people_write_it(root: Path, name: str, text: str) -> None:
    (root / name).write_text(text)
    data = load(root, labels=name)
    assert data.targets == Targets.classes(["cat", "dog"])
    assert learned(data) == {"0.png": 0, "1.png": 1, "2.png": 0, "3.png": 1}
    said = f"{name} has no header line: its columns are read as "
    has_titles = text.split(maxsplit=1)[0].strip(",") in ("file", "image", "id", "image_id,label")
    assert any(note.startswith(said) for note in data.findings.notes) != has_titles


def test_paths_and_labels_of_a_list_may_hold_spaces(root: Path) -> None:
    save(root / "hot dog" / "a b.png", pictures(1, 1)[0])
    (root / "all.txt").write_text("hot dog/a b.png golden retriever\n0.png cat\n1.png cat\n2.png golden retriever\n")
    data = load(root, labels="all.txt")
    assert learned(data) == {"a b.png": 1, "0.png": 0, "1.png": 0, "2.png": 1}


def test_each_part_has_a_list_of_its_own(root: Path) -> None:
    (root / "train.csv").write_text("file,label\n0.png,cat\n1.png,dog\n")
    (root / "val.csv").write_text("label,file,more\ncat,2.png,1\n")
    (root / "test.txt").write_text("3.png dog\n4.png cat\n")
    labels = {"train": "train.csv", "valid": "val.csv", "test": "test.txt"}
    data = load(root, labels=labels, test_fraction=None)
    assert [len(part) for part in (data.train, data.valid, data.test)] == [2, 1, 2]
    assert learned(data) == {"0.png": 0, "1.png": 1, "2.png": 0, "3.png": 1, "4.png": 0}
    with pytest.raises(DataError, match=r"data\.labels\.test=none.csv does not exist, neither here nor in"):
        load(root, labels={**labels, "test": "none.csv"})
    (root / "test.txt").write_text("3.png bird\n4.png cat\n")
    with pytest.raises(DataError, match=r"sample 0 has the label 'bird', which is not a class"):
        load(root, labels=labels, test_fraction=None)
    (root / "test.txt").write_text("3.png dog\n9.png cat\n")
    with pytest.raises(DataError, match=r"test\.txt, line 2: 9\.png does not exist"):
        load(root, labels=labels, test_fraction=None)
    (root / "test.csv").write_text("file\n5.png\n")
    with pytest.raises(DataError, match=r"test\.csv has no column label, which .*train\.csv has; .* predict them"):
        load(root, labels={**labels, "test": "test.csv"}, test_fraction=None)
    (root / "val.csv").write_text("file,label,split\n2.png,cat,train\n")
    with pytest.raises(DataError, match=r"val\.csv has a column split, but data\.labels gives its split, valid"):
        load(root, labels=labels, test_fraction=None)


def test_where_a_list_has_paths_alone_their_folders_are_the_classes(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "food", {"images": 3}, ("pie", "soup"))
    lists = {"train": ["pie/000", "pie/001", "soup/001", "soup/002"], "test": ["soup/000", "pie/002"]}
    for part, names in lists.items():
        (root / f"{part}.txt").write_text("\n".join(names) + "\n")
    data = load(root, labels={part: f"{part}.txt" for part in lists}, test_fraction=None)
    assert data.targets == Targets.classes(["pie", "soup"])
    assert (sorted(data.train.targets.tolist()), sorted(data.test.targets.tolist())) == ([0, 0, 1, 1], [0, 1])
    assert {Path(name).parent.name for name in data.test.names} == {"pie", "soup"}
    (root / "train.txt").write_text("000.png\n001.png\n")
    with pytest.raises(DataError, match=r"train\.txt has no column besides file: there is no target to learn"):
        load(root, labels="train.txt")


def test_names_that_are_in_two_folders_are_those_of_the_part_of_the_list(tmp_path: Path) -> None:
    """As Kaggle packs a competition: ids from 0 on in both folders, labels for one of them."""
    root = make_folder(tmp_path / "kaggle", {"": 4}, ("train", "test"))
    (root / "train_labels.csv").write_text("id,kind\n000,cat\n001,dog\n002,cat\n003,dog\n")
    data = load(root, labels="train_labels.csv")
    assert {Path(name).parent.name for name in (*data.train.names, *data.test.names)} == {"train"}
    assert any(
        note.startswith("skipped: 4 image files that train_labels.csv does not list") for note in data.findings.notes
    )
    (root / "other.csv").write_text("id,kind\n000,cat\n001,dog\n")
    with pytest.raises(DataError, match=r"line 2: 000 matches several images \(test/000\.png, train/000\.png\): write"):
        load(root, labels="other.csv")


def test_what_the_targets_say_is_said_before_anything_is_decoded(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def decoded(*_: object) -> None:
        raise AssertionError("an image was decoded")

    monkeypatch.setattr(readable, "decode_sample", decoded)
    monkeypatch.setattr(readable, "read_kind", decoded)
    with pytest.raises(DataError, match="all training samples have the same values, 5: there is nothing to learn"):
        load(root, listed(["5.0"] * 6, "size"), targets="values")
    with pytest.raises(DataError, match="of 1 sample leaves 0 for the test"):
        load(root, "file,size\n0.png,1.5\n")
    with pytest.raises(AssertionError, match="an image was decoded"):
        load(root, listed(list("123456"), "size"), targets="values")
