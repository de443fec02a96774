"""What a disk or a copy that broke off does to the bytes of a file."""

from __future__ import annotations

import random
from collections.abc import Callable

PAGE_BYTES = 4096
# What happens to the bytes of a file; it may leave them as they were.
Damage = Callable[[random.Random, bytes], bytes]


def flip(draw: random.Random, content: bytes) -> bytes:
    """Flip one bit."""
    position = draw.randrange(len(content))
    return content[:position] + bytes([content[position] ^ 1 << draw.randrange(8)]) + content[position + 1 :]


def truncate(draw: random.Random, content: bytes) -> bytes:
    """Keep a part from the start, or nothing."""
    return content[: draw.randrange(len(content))]


def zero_tail(draw: random.Random, content: bytes) -> bytes:
    """Zero all from somewhere on."""
    position = draw.randrange(len(content))
    return content[:position] + bytes(len(content) - position)


def zero_page(draw: random.Random, content: bytes) -> bytes:
    """Zero a page, the last one perhaps a short one."""
    start = PAGE_BYTES * draw.randrange(-(-len(content) // PAGE_BYTES))
    zeros = bytes(min(PAGE_BYTES, len(content) - start))
    return content[:start] + zeros + content[start + len(zeros) :]


def drawn(damage: Damage, draw: random.Random, content: bytes) -> bytes:
    """Return the bytes, damaged: drawn again where they were zeros already."""
    while (damaged := damage(draw, content)) == content:
        pass
    return damaged
