"""Secrets are in no file that a run or a sweep leaves, and in nothing that it says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from support.command_line import OWN_MODULE, OWN_YAML, SHORT, Outcome, Row, assert_ended_as

pytestmark = pytest.mark.usefixtures("warm_python")

CANARY = "CANARY"
SECRET_YAML = OWN_YAML + f"api_key: {CANARY}-in-yaml\nlogins:\n  db_token: {CANARY}-nested\nmood: FINCH\n"
SECRET_WORDS = (f"model.api_key={CANARY}-typed", f"model.logins={{db_token: {CANARY}-in-a-mapping}}")

ROWS: dict[str, Row] = {
    "secrets": Row(
        [*SHORT, "export=onnx", "model=mynet", *SECRET_WORDS],
        0,
        [],
        {"conf/model/mynet.yaml": SECRET_YAML, "mynet.py": OWN_MODULE},
        folder="secrets",
    ),
    "secrets evaluated": Row(["ckpt=outputs/latest", "model=mynet", *SECRET_WORDS], 0, [], folder="secrets"),
    "secrets swept": Row(
        ["-m", *SHORT, "model=mynet", f"model.api_key={CANARY}-1,{CANARY}-2", "model.mood=FINCH,breaks", "seed=0"],
        1,
        [],
        folder="secrets",
    ),
    "secrets wrong": Row(
        ["-m", *SHORT, "model=mynet", "seed=a,b", f"model.api_key=[{CANARY}-list]", f"model.token.x={CANARY}"],
        1,
        [],
        folder="secrets",
    ),
    "left out: trained": Row(
        [*SHORT, "model=mynet", f"model.api_key={CANARY}-typed"],
        0,
        [],
        {"conf/model/mynet.yaml": OWN_YAML + "api_key: ''\nmood: FINCH\n", "mynet.py": OWN_MODULE},
        folder="left out",
    ),
    "left out: not given": Row(
        ["ckpt=outputs/latest", "trust=[mynet]"], 2, ["model.api_key is a secret", "give it again"], folder="left out"
    ),
    "left out: named, not given": Row(
        ["ckpt=outputs/latest", "model=mynet"], 2, ["model.api_key is a secret"], folder="left out"
    ),
    "left out: named, given in the file": Row(
        ["ckpt=outputs/latest", "model=mynet"],
        0,
        [],
        {"conf/model/mynet.yaml": OWN_YAML + "api_key: ${oc.env:MY_KEY}\nmood: FINCH\n"},
        folder="left out",
    ),
    "left out: resumed, not given": Row(
        ["resume=outputs/latest", "trust=[mynet]"], 2, ["model.api_key is a secret"], folder="left out"
    ),
    "left out: given": Row(
        ["ckpt=outputs/latest", "trust=[mynet]", f"model.api_key={CANARY}-again"], 0, [], folder="left out"
    ),
    # The negative control: without a secret nothing is asked for.
    "no secret: trained": Row(
        [*SHORT, "model=mynet"],
        0,
        [],
        {"conf/model/mynet.yaml": OWN_YAML + "api_key: ''\n", "mynet.py": OWN_MODULE},
        folder="no secret",
    ),
    "no secret: evaluated": Row(["ckpt=outputs/latest", "trust=[mynet]"], 0, [], folder="no secret"),
}


ENVIRONMENT = {"MY_KEY": f"{CANARY}-file"}


@pytest.mark.parametrize("name", ROWS)
def test_a_command_ends_with_its_exit_code(name: str, rows: tuple[Path, dict[str, Outcome]]) -> None:
    assert_ended_as(ROWS[name], rows[1][name])


def files_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_no_file_of_a_run_or_a_sweep_holds_a_secret(rows: tuple[Path, dict[str, Outcome]]) -> None:
    outputs = rows[0] / "secrets" / "outputs"
    files = files_below(outputs)
    names = {path.name for path in files}
    expected = {
        "config.yaml",
        "overrides.yaml",
        "environment.json",
        "status.json",
        "run.log",
        "summary.json",
        "model.onnx",
    }
    assert expected | {"sweep.csv", "sweep.json", "verification.json", "manifest.json", "metrics.jsonl"} <= names
    assert any(path.suffix == ".ckpt" for path in files)
    for path in files:
        assert CANARY.encode() not in path.read_bytes(), path
        assert CANARY not in str(path)
    # Negative control: what is no secret is found by the same search, in the plain files and in the checkpoints.
    holding = {path.name for path in files if b"FINCH" in path.read_bytes()}
    assert "config.yaml" in holding
    assert any(name.endswith(".ckpt") for name in holding)
    for name in ("secrets", "secrets swept"):
        assert CANARY not in rows[1][name].out + rows[1][name].err


def test_secrets_are_redacted_and_not_dropped(rows: tuple[Path, dict[str, Outcome]]) -> None:
    (run,) = {path.parent.parent for path in (rows[0] / "secrets" / "outputs").glob("20*/*/exports/onnx")}
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert config["model"]["api_key"] == "***"
    assert config["model"]["logins"] == {"db_token": "***"}
    assert config["model"]["mood"] == "FINCH"


def test_a_secret_that_is_given_again_is_left_out_again(rows: tuple[Path, dict[str, Outcome]]) -> None:
    runs = [path.parent for path in (rows[0] / "left out").glob("outputs/20*/*/summary.json")]
    assert {json.loads((run / "summary.json").read_text())["task"] for run in runs} == {"train", "evaluate"}
    for run in runs:
        contents = {path: path.read_bytes() for path in files_below(run)}
        assert not [path for path, content in contents.items() if CANARY.encode() in content]
        assert b"FINCH" in contents[run / "config.yaml"], "the negative control: what is no secret is there"
    outcomes = {name: outcome for name, outcome in rows[1].items() if name.startswith("left out")}
    assert not [name for name, outcome in outcomes.items() if CANARY in outcome.out + outcome.err]
    assert not [name for name, outcome in outcomes.items() if "not given" in name and outcome.created]
