"""Damaged checkpoints and manifests in short, each campaign with a program that breaks the promise: it must be seen."""

from __future__ import annotations

import contextlib
import io
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from campaigns import damage, damaged_manifests, harms
from campaigns.campaign import Arena
from campaigns.specimen import WORDS
from nnrun.base.errors import ArtifactError
from nnrun.base.open_file import OpenFile
from nnrun.checkpoints import locate, manifest
from nnrun.checkpoints import zip_entries as zipped
from nnrun.cli import main


@pytest.fixture(scope="module")
def arena(tmp_path_factory, shelf):
    return Arena(tmp_path_factory.mktemp("damage"), main, shelf=shelf)


@pytest.mark.parametrize(
    ("campaign", "count"),
    [
        (damage.flipped_bits, 40),
        (damage.truncations, 20),
        (damage.zeroed_tails, 20),
        (damage.zeroed_pages, 20),
        (damaged_manifests.damaged_manifests, 12),
    ],
)
def test_damage_is_found(arena, campaign, count):
    result = campaign(arena, count)
    assert result.tried == count
    assert result.ok, result.notes


@pytest.mark.parametrize(
    ("campaign", "kind"),
    [
        (damage.flipped_bits, "different"),
        (damage.zeroed_pages, "different"),
        # A zip file without its end cannot be read at all: what breaks is the fallback.
        (damage.truncations, "lost"),
        (damage.zeroed_tails, "lost"),
    ],
)
def test_damage_that_nobody_looks_for_is_counted(arena, monkeypatch, campaign, kind):
    """Negative control: where neither a sha256 nor a CRC is compared, much is let through."""
    monkeypatch.setattr(damage, "COMMAND_EVERY", 1000)
    monkeypatch.setattr(zipped.Region, "read_into", without_crc)
    for module in (manifest, locate):
        monkeypatch.setattr(module, "open_verified", lambda path, entry=None: OpenFile(path))
    assert getattr(campaign(arena, 20), kind) > 0


def without_crc(region, file, room):
    """Read what an entry holds, whatever its CRC says."""
    file.seek(region.start)
    file.readinto(room)


def deaf(words):
    """A program that takes a damaged checkpoint for a whole one."""
    return 0 if any(word.startswith("ckpt=") for word in words) else main(words)


def tidy(words):
    """A program that removes the damaged file that it is given."""
    code = main(words)
    path = Path(words[0].removeprefix("ckpt="))
    if path.is_file():
        path.unlink()
    return code


def forgetful(words):
    """A program that begins again where it should go on."""
    if not words[0].startswith("resume="):
        return main(words)
    run = Path(words[0].removeprefix("resume="))
    shutil.rmtree(run)
    return main([*WORDS, f"hydra.run.dir={run}"])


def silent(words):
    """A program that says nothing of what it found when it goes on."""
    if not words[0].startswith("resume="):
        return main(words)
    with contextlib.redirect_stdout(io.StringIO()):
        return main(words)


@pytest.mark.parametrize(
    ("program", "kind"), [(deaf, "unexplained"), (tidy, "lost"), (forgetful, "different"), (silent, "unexplained")]
)
def test_a_program_that_breaks_a_promise_is_counted(arena, program, kind):
    result = damage.flipped_bits(replace(arena, main=program), 1)
    assert getattr(result, kind) == 1, result.notes


def test_a_manifest_for_which_another_is_taken_is_counted(arena, monkeypatch):
    """Negative control: of a manifest that cannot be read, the first checkpoint of the folder is taken."""
    original = locate.locate

    def guess(path, want):
        try:
            return original(path, want)
        except ArtifactError:
            return locate.Located(OpenFile(min((path / "checkpoints").glob("*.ckpt"))), path)

    monkeypatch.setattr(damaged_manifests, "locate", guess)
    result = damaged_manifests.damaged_manifests(replace(arena, seed=1), 6)
    assert result.different > 0
    assert "checkpoint became step-00000000" in result.notes[0]


def test_the_same_seed_draws_the_same_damage(arena):
    content = bytes(range(256)) * 40
    for harm in (harms.flip, harms.truncate, harms.zero_tail, harms.zero_page):
        one, other = (harms.drawn(harm, arena.draw, content) for _ in range(2))
        assert one == other != content
    assert harms.drawn(harms.zero_tail, arena.draw, b"x" + bytes(20)) == bytes(21)
