#!/usr/bin/env bash
# Writes the files of version 0.5.0 that later versions must keep reading, as the sources of commit a20c070a write them: what that
# version was the first to write: photos larger than 224 as it resizes and decodes them, a table of pixels, images that the CNN
# averages to `model.grid`, a network of one's own that returns its features too, and the results of each test sample. Run it with
# that commit's nnrun and python first on PATH, in a new folder; it ends with files.tar.xz, beside that folder.
set -euo pipefail
export OMP_NUM_THREADS=1 NNRUN_CACHE="$PWD/cache"
python - <<'P'
from pathlib import Path

import numpy as np
from PIL import Image

# 20 photos of 2 sizes, the colours smooth, so that the files are small; decoded at half their size.
down, across = np.mgrid[0:520, 0:600]
for label, name in enumerate(("shore", "wood")):
    Path("photos", name).mkdir(parents=True)
    for i in range(10):
        height, width = ((520, 600), (516, 560))[i % 3 == 0]
        hue = (down * (1 + label) // 2 + across * (2 - label) // 2 + 20 * i) % 256
        pixels = np.stack([hue, 255 - hue, np.full_like(hue, 100 * label + i)], -1)[:height, :width]
        Image.fromarray(pixels.astype(np.uint8)).resize((width, height)).save(f"photos/{name}/{i}.jpg", quality=5)

rng = np.random.default_rng(5)
labels = np.arange(80) % 4
pixels = np.clip(rng.integers(0, 40, (80, 36)) + 60 * labels[:, None], 0, 255)
rows = ["label," + ",".join(f"pixel{i}" for i in range(36))]
rows += [",".join(map(str, [label, *row])) for label, row in zip(labels, pixels, strict=True)]
Path("train.csv").write_text("\n".join(rows) + "\n")
np.save("images.npy", pixels.reshape(80, 6, 6).astype(np.uint8))
P
cat > both.py <<'P'
from torch import nn


class Both(nn.Module):
    def __init__(self, in_shape, num_outputs, width):
        super().__init__()
        channels, height, across = in_shape
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(channels * height * across, width), nn.Tanh())
        self.head = nn.Linear(width, num_outputs)

    def forward(self, images):
        features = self.body(images)
        return self.head(features), features
P
mkdir -p conf/model conf/loss
printf '_target_: both.Both\nin_shape: ${data.in_shape}\nnum_outputs: ${data.num_outputs}\nwidth: 3\n' > conf/model/both.yaml
printf '_target_: torch.nn.CrossEntropyLoss\nlabel_smoothing: 0.1\n' > conf/loss/smooth.yaml
tiny="trainer.progress=false data.batch_size=8"
# Of the seeds one whose network says something else of each photo.
varied="seed=3 optimizer=sgd optimizer.lr=1e-3 optimizer.momentum=0 optimizer.nesterov=false"
nnrun $tiny data=folder data.root=photos model.channels=[2,2] model.hidden=2 trainer.epochs=1 $varied export=onnx hydra.run.dir=photographs
nnrun $tiny data=arrays data.root=train.csv model=mlp model.hidden=[6] optimizer.lr=1e-2 trainer.epochs=12 export='[onnx,safetensors]' hydra.run.dir=table
nnrun $tiny data=arrays data.root=train.csv model=both loss=smooth trainer.epochs=2 export=none hydra.run.dir=own
long="$tiny data=arrays data.root=train.csv model=cnn model.channels=[2] model.hidden=3 model.grid=4 trainer.epochs=12 optimizer=adamw scheduler=cosine trainer.checkpoint_every_steps=2 early_stopping=none export=none"
nnrun $long hydra.run.dir=uninterrupted
# Stopped in the midst of an epoch that is not its first.
python - $long hydra.run.dir=interrupted <<'P'
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import torch

folder = Path("interrupted", "checkpoints")
while True:
    process = subprocess.Popen(["nnrun", *sys.argv[1:]])
    while process.poll() is None and not any(int(path.name[5:13]) >= 16 for path in folder.glob("step-*.ckpt")):
        time.sleep(0.001)
    process.send_signal(signal.SIGTERM)
    if process.wait() == 143:
        newest = torch.load(sorted(folder.glob("step-*.ckpt"))[-1], weights_only=True)["training"]["progress"]
        if newest["batch"] > 0 and newest["epoch"] > 0:
            break
    shutil.rmtree("interrupted")
P
# What this version says of them.
nnrun ckpt=photographs hydra.run.dir=evaluated/photographs
nnrun ckpt=table hydra.run.dir=evaluated/table
nnrun ckpt=own model=both loss=smooth hydra.run.dir=evaluated/own
nnrun task=predict ckpt=photographs input=photos hydra.run.dir=predicted/photographs
nnrun task=predict ckpt=table input=images.npy hydra.run.dir=predicted/table
nnrun task=predict ckpt=table/exports/onnx/model.onnx input=images.npy hydra.run.dir=predicted/table_onnx
rm -rf outputs __pycache__ uninterrupted/checkpoints cache
XZ_OPT=-9e tar --sort=name --owner=0 --group=0 --numeric-owner -cJf ../files.tar.xz ./*
