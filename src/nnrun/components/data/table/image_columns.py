"""Columns of images in Parquet and Arrow, as Hugging Face's data sets have them: the content of an image file a row."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnrun.base.errors import DataError
from nnrun.base.files import check_is_file
from nnrun.base.foreign_errors import lacks_package
from nnrun.base.paths import shown
from nnrun.base.streams import NativeErrorsDiscarded
from nnrun.components.data.hub_sets import features_beside, features_in
from nnrun.components.data.opened_images import reading
from nnrun.components.data.table.named_classes import with_names

if TYPE_CHECKING:
    import polars as pl

# Why other data leaves out such a column.
IMAGES = "images, which data=folder reads"
# The rows whose images are in memory at a time.
_ROWS = 1000
_CONTENT, _PATH = "bytes", "path"


@dataclass(frozen=True)
class Columns:
    """The columns of a file: its titles in order, those of images, and what Hugging Face's library wrote about them."""

    path: Path
    titles: tuple[str, ...]
    images: tuple[str, ...]
    features: Mapping[str, Any]


def columns_of(path: Path) -> Columns:
    """Return the columns of a file of Parquet or Arrow; raise DataError where it is not one."""
    pl = _polars()
    with reading(path):
        check_is_file(path)
        if path.stat().st_size == 0:
            raise DataError(f"{shown(path)} is empty")
        with NativeErrorsDiscarded():
            if _is_parquet(path):
                features = features_in(pl.read_parquet_metadata(path))
                schema: Any = pl.read_parquet_schema(path)
            else:
                features = features_beside(path)
                schema = pl.read_ipc_schema(path) if _is_file(path) else pl.read_ipc_stream(path, n_rows=0).schema
    images = [title for title, kind in schema.items() if is_of_images(kind, features.get(title))]
    return Columns(path, tuple(schema), tuple(images), features)


def frame_without(columns: Columns, images: Collection[str]) -> pl.DataFrame:
    """Return the rows of a file without some columns; numbers that stand for classes become their names."""
    pl = _polars()
    titles = [title for title in columns.titles if title not in images]
    with reading(columns.path):
        if not titles:
            return pl.DataFrame({"": [None] * num_rows(columns)})
        frame = _read(columns.path, titles)
    return with_names(frame, columns.features, columns.path)


def classes_in(frame: pl.DataFrame) -> tuple[str, ...]:
    """Return the titles of columns of which the file lists the classes that a cell can name."""
    return tuple(title for title, kind in frame.schema.items() if isinstance(kind, _polars().Enum))


def images_in(columns: Columns, image: str, num_rows: int | None = None) -> Iterator[tuple[bytes | None, str | None]]:
    """Yield the content of the image of each row, or of the first ones, and the path that the row has beside it."""
    pl = _polars()
    with reading(columns.path):
        if _is_parquet(columns.path):
            rows = pl.scan_parquet(columns.path).select(image)
            rows = rows if num_rows is None else rows.head(num_rows)
            batches = rows.collect_batches(chunk_size=_ROWS)
        else:
            batches = _read(columns.path, [image], num_rows).iter_slices(_ROWS)
        for batch in batches:
            column = batch[image]
            if not isinstance(column.dtype, pl.Struct):
                yield from ((content, None) for content in column)
                continue
            names = {field.name for field in column.dtype.fields}
            paths = column.struct.field(_PATH) if _PATH in names else [None] * len(column)
            yield from zip(column.struct.field(_CONTENT), paths, strict=True)


def num_rows(columns: Columns) -> int:
    """Return the number of rows of a file that has images alone."""
    pl = _polars()
    if _is_parquet(columns.path):
        return int(pl.scan_parquet(columns.path).select(pl.len()).collect().item())
    return _read(columns.path, list(columns.titles[:1])).height


def _read(path: Path, titles: list[str], num_rows: int | None = None) -> pl.DataFrame:
    """Return some columns of a file."""
    pl = _polars()
    with NativeErrorsDiscarded():
        if _is_parquet(path):
            return pl.read_parquet(path, columns=titles, n_rows=num_rows)
        read = pl.read_ipc if _is_file(path) else pl.read_ipc_stream
        return read(path, columns=titles, n_rows=num_rows)


def is_of_images(kind: Any, feature: Any = None) -> bool:
    """Return whether a column is of images: its library says so, or each cell is a content and a path, or a content."""
    pl = _polars()
    said = feature.get("_type") if isinstance(feature, Mapping) else None
    if isinstance(kind, pl.Struct):
        has = any(field.name == _CONTENT and field.dtype == pl.Binary for field in kind.fields)
        return has and said in (None, "Image")
    return kind == pl.Binary and said in (None, "Image", "Value")


def _is_parquet(path: Path) -> bool:
    return path.suffix.lower() in (".parquet", ".pq")


def _is_file(path: Path) -> bool:
    """Return whether Arrow is in its form of a file, which begins with its name, not in that of a stream."""
    with path.open("rb") as file:
        return file.read(6) == b"ARROW1"


def _polars() -> Any:
    """Return the module that reads tables."""
    try:
        import polars  # noqa: PLC0415 - only a run on a table pays for it
    except ModuleNotFoundError as error:
        raise lacks_package("reading images in columns", error) from error
    return polars
