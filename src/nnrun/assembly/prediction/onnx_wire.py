"""Check the bytes of an ONNX file before a library parses them. Needs no ONNX.

Protobuf can encode one message in many ways: fields outside of the schema, a field that occurs twice and is merged. So
two readers may see different networks, and the one that is checked may not be the one that runs. Exporters write none
of this.
"""

from __future__ import annotations

from typing import Any

# ONNX Runtime reads bytes with this mark as its own format, not as ONNX.
_ORT_MARK, _ORT_MARK_AT = b"ORTM", 4
_MAX_FIELDS = 3_000_000
_MAX_DEPTH = 60
_TEXT = 9
_VARINT, _EIGHT_BYTES, _BYTES, _FOUR_BYTES = 0, 1, 2, 5
# The types of a field by its wire type, as protobuf's descriptors number them; a packed list has _BYTES.
_TYPES_OF = {
    _EIGHT_BYTES: (1, 6, 16),
    _FOUR_BYTES: (2, 7, 15),
    _VARINT: (3, 4, 5, 8, 13, 14, 17, 18),
    _BYTES: (9, 11, 12),
}


class Unclear(Exception):
    """Two readers could read the bytes differently; the message says why."""


def check_bytes(content: bytes, descriptor: Any) -> None:
    """Raise Unclear unless bytes encode a message of a protobuf descriptor in the plain way.

    Every field is in the schema and has its type; a field that is not a list occurs once; texts are UTF-8; nothing is
    nested too deep; the number of fields is limited, so that reading costs not much more than the file's size.
    """
    if content[_ORT_MARK_AT : _ORT_MARK_AT + len(_ORT_MARK)] == _ORT_MARK:
        raise Unclear("it is also a file in ONNX Runtime's own format")
    _Walk(content).message(0, len(content), descriptor, 0)


class _Walk:
    """Walk over all fields of a message, including those of nested messages."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._num_fields = 0

    def message(self, start: int, end: int, descriptor: Any, depth: int) -> None:
        """Walk over the message between two offsets."""
        if depth > _MAX_DEPTH:
            raise Unclear("its fields are nested too deep")
        fields = descriptor.fields_by_number
        seen: set[int] = set()
        while start < end:
            self._num_fields += 1
            if self._num_fields > _MAX_FIELDS:
                raise Unclear(f"it has more than {_MAX_FIELDS:,} fields")
            tag, start = self._varint(start, end)
            number, wire_type = tag >> 3, tag & 7
            field = fields.get(number)
            if field is None:
                raise Unclear(f"it has a field that ONNX does not know (field {number} of a {descriptor.name})")
            is_list = _is_list(field)
            is_packed = is_list and wire_type == _BYTES and field.type not in _TYPES_OF[_BYTES]
            if not is_packed and field.type not in _TYPES_OF.get(wire_type, ()):
                raise Unclear(f"a field has the wrong type ({field.name} of a {descriptor.name})")
            if not is_list and number in seen:
                raise Unclear(f"a field occurs twice ({field.name} of a {descriptor.name})")
            seen.add(number)
            inside, start = self._value(start, end, wire_type)
            if field.type == _TEXT and not _is_text(self._content[inside:start]):
                raise Unclear(f"a text is not UTF-8 ({field.name} of a {descriptor.name})")
            if field.message_type is not None:
                self.message(inside, start, field.message_type, depth + 1)

    def _value(self, start: int, end: int, wire_type: int) -> tuple[int, int]:
        """Return where a value begins, after its length, and where it ends."""
        after = start
        if wire_type == _VARINT:
            after = self._varint(start, end)[1]
        elif wire_type == _BYTES:
            length, start = self._varint(start, end)
            after = start + length
        else:
            after = start + (8 if wire_type == _EIGHT_BYTES else 4)
        if after > end:
            raise Unclear("it is truncated, or a field is longer than the message")
        return start, after

    def _varint(self, start: int, end: int) -> tuple[int, int]:
        """Return a number of variable length, and where it ends."""
        value = 0
        for index in range(10):
            if start + index >= end:
                raise Unclear("it is truncated, or a field is longer than the message")
            byte = self._content[start + index]
            value |= (byte & 127) << (7 * index)
            if byte < 128:
                return value, start + index + 1
        raise Unclear("a varint is longer than 10 bytes")


def _is_text(content: bytes) -> bool:
    """Return whether bytes are UTF-8; of others protobuf's Python returns bytes where text is expected."""
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True


def _is_list(field: Any) -> bool:
    """Return whether a field may occur several times; newer and older versions of protobuf name it differently."""
    is_repeated = getattr(field, "is_repeated", None)
    return field.label == field.LABEL_REPEATED if is_repeated is None else bool(is_repeated)
