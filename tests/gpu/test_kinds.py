"""Labels and values on a CUDA device: counted in the same bins as on a CPU, and trained and measured alike."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nnrun.components.metrics.multilabel import MultilabelMetrics
from nnrun.core.seams.batch import Batch
from support.on_gpu import CUDA, read, train
from support.pictures import labelled, valued

pytestmark = pytest.mark.gpu


def test_scores_are_counted_in_the_bins_of_a_cpu():
    """Comparisons are exact: the same scores are in the same bins, those on an edge too."""
    metric = MultilabelMetrics(3)
    torch.manual_seed(0)
    scores = torch.cat([3 * torch.randn(1000, 3), metric.edges[:999].view(-1, 3), torch.zeros(1, 3)])
    targets = (torch.rand(scores.shape) < 0.3).float()
    found = []
    for device in (torch.device("cpu"), CUDA):
        sums, ones = metric.init(device), torch.ones(len(scores), device=device)
        batch = Batch(torch.empty(0), targets.to(device), ones, len(scores), None, True)
        metric.update(sums, scores.to(device), ones, batch)
        found.append(sums["counts"].cpu())
    assert torch.equal(*found)


@pytest.mark.parametrize(("make", "metric"), [(labelled, "map"), (valued, "r2")])
def test_a_run_is_measured_as_on_a_cpu(tmp_path, make, metric):
    x, y = make(400)
    np.savez(tmp_path / "data.npz", x=x, y=y)
    words = ["data=arrays", f"data.root={tmp_path / 'data.npz'}", "model=cnn", "trainer.epochs=5", "export=none"]
    assert train(tmp_path / "run", *words) == 0
    assert train(tmp_path / "cpu", f"ckpt={tmp_path / 'run'}", "trainer.device=cpu") == 0
    ours, theirs = (read(tmp_path / run / "summary.json")["metrics"] for run in ("run", "cpu"))
    assert ours == pytest.approx(theirs, rel=1e-3, abs=1e-3)
    assert ours[f"test/{metric}"] > 0.5
