"""TensorBoard: event files in the run's directory, written without TensorFlow and without torch.utils.tensorboard."""

from __future__ import annotations

import io
import logging
import math
import os
import socket
import struct
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnrun.base.files import DurableFile, saving
from nnrun.base.foreign_errors import check_package, said_by
from nnrun.base.paths import alone, inside
from nnrun.components.loggers.flat import flat
from nnrun.core.seams.data import Tree
from nnrun.core.seams.training import Histogram, RunInfo

if TYPE_CHECKING:
    from torch import Tensor, nn

notices = logging.getLogger("nnrun")
# The folder in the run's directory, and the name that TensorBoard looks for.
_FOLDER, _NAME = "tensorboard", "events.out.tfevents"
_PLUGIN = "hparams"
_STATES = {"finished": 1, "failed": 2, "diverged": 2}


class TensorBoard:
    """Write the values of a run as TensorBoard shows them.

    A resumed run writes its file anew: the values up to its checkpoint as they are in metrics.jsonl, the other entries
    up to there as they were. The graph is drawn last, since that imports parts of torch, for a second or more, which
    would slow the steps beside it.
    """

    def __init__(self, histograms: bool, graph: bool, mistakes: bool) -> None:
        # None: the logger has no such method.
        self.histograms = self._histograms if histograms else None
        self.graph = self._graph if graph else None
        self.image = self._image if mistakes else None
        self._outline: tuple[nn.Module, Tree] | None = None

    @staticmethod
    def check_parameters(parameters: Mapping[str, Any]) -> None:
        """Raise ResourceError if TensorBoard is not installed."""
        check_package("logger.tensorboard", "tensorboard")

    def start(self, run: RunInfo) -> None:
        """Begin a file; copy into it what a resumed run keeps of its earlier ones."""
        from tensorboard.compat.proto import event_pb2, summary_pb2  # noqa: PLC0415 - only for this logger
        from tensorboard.summary.writer.record_writer import RecordWriter  # noqa: PLC0415

        self._event, self._summary, self._config = event_pb2.Event, summary_pb2.Summary, run.config
        self._id, self._sweep, self._has_graph = run.id, run.sweep, False
        folder = inside(run.directory, _FOLDER)
        with saving(folder):
            folder.mkdir(exist_ok=True)
            earlier = sorted(folder.glob(f"{_NAME}.*"))
            name = f"{_NAME}.{int(time.time())}.{socket.gethostname()}.{os.getpid()}.0"
            begun = io.BytesIO()
            writer = RecordWriter(begun)
            writer.write(self._event(wall_time=time.time(), file_version="brain.Event:2").SerializeToString())
            for content in self._kept(earlier, run):
                writer.write(content)
            with DurableFile(folder) as file:
                file.write(begun.getbuffer())
                file.commit(name)
            for path in earlier:
                if path.name != name:
                    path.unlink()
            self._writer = RecordWriter(alone(folder / name).open("ab"))

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Add values as curves, by their full names."""
        self._write(step, [self._scalar(name, value) for name, value in values.items()])

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Add the settings, and how the run ended: the table of hparams takes the final metrics from the curves.

        And the graph, unless the run was interrupted: that is to end soon, and a resumed one adds it.
        """
        self._write((summary.get("train") or {}).get("steps") or 0, self._settings(summary["state"]))
        if self._outline and not self._has_graph and summary["state"] != "interrupted":
            self._draw(*self._outline)
        self._writer.close()

    def _histograms(self, step: int, values: Mapping[str, Histogram]) -> None:
        """Add distributions."""
        from tensorboard.compat.proto.summary_pb2 import HistogramProto  # noqa: PLC0415 - only for this logger

        found = []
        for name, it in values.items():
            width = (it.high - it.low) / len(it.counts)
            proto = HistogramProto(
                min=it.low, max=it.high, num=sum(it.counts), sum=it.total, sum_squares=it.total_squares,
                bucket_limit=[it.low + width * (index + 1) for index in range(len(it.counts))], bucket=it.counts,
            )  # fmt: skip
            found.append(self._summary.Value(tag=name, histo=proto))
        self._write(step, found)

    def _graph(self, network: nn.Module, example: Tree) -> None:
        """Keep the outline of the network, which has no values, until the run ends."""
        self._outline = network, example

    def _draw(self, network: nn.Module, example: Tree) -> None:
        """Add the graph of the network."""
        from tensorboard.compat.proto.attr_value_pb2 import AttrValue  # noqa: PLC0415 - only for this logger
        from tensorboard.compat.proto.graph_pb2 import GraphDef  # noqa: PLC0415
        from tensorboard.compat.proto.node_def_pb2 import NodeDef  # noqa: PLC0415
        from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto  # noqa: PLC0415

        from nnrun.components.loggers.network_graph import nodes_of  # noqa: PLC0415 - it imports torch

        try:
            nodes = nodes_of(network, example)
        except Exception as error:  # a network may need values, which there are none
            notices.warning("logger.tensorboard leaves out the graph of the network: %s", said_by(error))
            return
        found = []
        for node in nodes:
            shape = TensorShapeProto(dim=[TensorShapeProto.Dim(size=size) for size in node.shape])
            shapes = AttrValue(list=AttrValue.ListValue(shape=[shape]))
            found.append(NodeDef(name=node.name, op=node.kind, input=node.takes, attr={"_output_shapes": shapes}))
        content = GraphDef(node=found).SerializeToString()
        self._writer.write(self._event(wall_time=time.time(), graph_def=content).SerializeToString())
        self._writer.flush()

    def _image(self, step: int, name: str, image: Tensor) -> None:
        """Add an image as a PNG file."""
        from PIL import Image  # noqa: PLC0415 - only where there are images

        pixels = image.permute(1, 2, 0).contiguous().numpy()
        content = io.BytesIO()
        Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(content, "PNG")
        height, width, channels = pixels.shape
        encoded = self._summary.Image(
            height=height, width=width, colorspace=channels, encoded_image_string=content.getvalue()
        )
        self._write(step, [self._summary.Value(tag=name, image=encoded)])

    def _scalar(self, name: str, value: float) -> Any:
        """Return a value as TensorBoard has it."""
        return self._summary.Value(tag=name, simple_value=value)

    def _write(self, step: int, values: list[Any]) -> None:
        """Write values of a step to the disk, in one record."""
        event = self._event(wall_time=time.time(), step=step, summary=self._summary(value=values))
        self._writer.write(event.SerializeToString())
        self._writer.flush()

    def _settings(self, state: str) -> list[Any]:
        """Return the settings of the run, and its state, for the table of hparams."""
        from tensorboard.compat.proto import summary_pb2  # noqa: PLC0415 - only for this logger
        from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2  # noqa: PLC0415

        begun = plugin_data_pb2.SessionStartInfo(group_name=self._id, start_time_secs=time.time())
        for name, value in flat(self._config).items():
            if isinstance(value, bool):
                begun.hparams[name].bool_value = value
            elif isinstance(value, int | float):
                begun.hparams[name].number_value = value
            elif value is not None:
                begun.hparams[name].string_value = str(value)
        ended = plugin_data_pb2.SessionEndInfo(
            status=_STATES.get(state, api_pb2.STATUS_UNKNOWN), end_time_secs=time.time()
        )
        return [
            summary_pb2.Summary.Value(
                tag=tag,
                metadata=summary_pb2.SummaryMetadata(
                    plugin_data=summary_pb2.SummaryMetadata.PluginData(
                        plugin_name=_PLUGIN,
                        content=plugin_data_pb2.HParamsPluginData(version=0, **content).SerializeToString(),
                    )
                ),
            )
            for tag, content in (
                (metadata.SESSION_START_INFO_TAG, {"session_start_info": begun}),
                (metadata.SESSION_END_INFO_TAG, {"session_end_info": ended}),
            )
        ]

    def _kept(self, earlier: list[Path], run: RunInfo) -> Iterator[bytes]:
        """Yield what a new file begins with: the values up to `run.step`, and the other entries up to there."""
        times: dict[tuple[int, str], float] = {}
        for path in earlier:
            for content in _records(path):
                event = self._event.FromString(content)
                self._has_graph |= event.HasField("graph_def")
                if event.HasField("graph_def"):
                    yield content
                kept = []
                for value in event.summary.value:
                    if value.HasField("simple_value"):
                        times[event.step, value.tag] = event.wall_time
                    elif event.step <= run.step and value.metadata.plugin_data.plugin_name != _PLUGIN:
                        kept.append(value)
                if kept:
                    yield self._event(
                        wall_time=event.wall_time, step=event.step, summary=self._summary(value=kept)
                    ).SerializeToString()
        for step, values in run.rows:
            at = max((times.get((step, name), math.nan) for name in values), default=math.nan)
            scalars = self._summary(value=[self._scalar(*item) for item in values.items()])
            yield self._event(
                wall_time=time.time() if math.isnan(at) else at, step=step, summary=scalars
            ).SerializeToString()


def _records(path: Path) -> Iterator[bytes]:
    """Yield the records of an event file, up to one that was cut off."""
    with path.open("rb") as file:
        while len(head := file.read(12)) == 12:
            (length,) = struct.unpack("<Q", head[:8])
            content = file.read(length)
            if len(content) < length or len(file.read(4)) < 4:
                return
            yield content
