#!/usr/bin/env bash
# Writes the files of version 0.4.0 that later versions must keep reading, as the sources of commit 8c630a9 write them: what that
# version was the first to write, labels and values with what was fitted to them, options that were chosen by `auto`, and
# validations within an epoch; and photos that are larger than 224, which it decoded in full and kept at their own size. Run it
# with that commit's nnrun and python first on PATH, in a new folder; it ends with files.tar.xz, beside that folder.
set -euo pipefail
export OMP_NUM_THREADS=1 NNRUN_CACHE="$PWD/cache"
python - <<'P'
from pathlib import Path

import numpy as np
from PIL import Image

rng = np.random.default_rng(4)
Path("scenes").mkdir()
lines = ["file,labels"]
for i in range(60):
    dark, wide = i % 2, i // 2 % 2
    pixels = rng.integers(0, 60, (10, 10)) + 120 * (1 - dark)
    pixels[3:6, : 10 if wide else 3] = 250
    Image.fromarray(pixels.astype(np.uint8)).save(f"scenes/{i}.png")
    lines.append(f"{i}.png," + ";".join(name for name, has in (("dark", dark), ("wide", wide)) if has))
Path("scenes/labels.csv").write_text("\n".join(lines) + "\n")

x = rng.integers(0, 256, (80, 10, 10)).astype(np.uint8)
mean = x.reshape(80, -1).mean(1)
y = np.stack([mean * 3 - 100, rng.normal(5, 2, 80)], 1).astype(np.float32)
np.savez("values.npz", x_train=x[:60], y_train=y[:60], x_test=x[60:], y_test=y[60:])
np.save("values.npy", x[60:])

# 24 photos of 2 sizes, the colours smooth, so that the files are small.
down, across = np.mgrid[0:240, 0:320]
for label, name in enumerate(("shore", "wood")):
    Path("photos", name).mkdir(parents=True)
    for i in range(12):
        height, width = ((240, 320), (230, 300))[i % 3 == 0]
        hue = (down * (1 + label) + across * (2 - label) + 20 * i) % 256
        pixels = np.stack([hue, 255 - hue, np.full_like(hue, 100 * label + i)], -1)[:height, :width]
        Image.fromarray(pixels.astype(np.uint8)).save(f"photos/{name}/{i}.jpg", quality=30)
P
cat > mine.py <<'P'
from torch import nn

from nnrun.api import Callback


class MyNet(nn.Module):
    def __init__(self, in_shape, num_outputs, width):
        super().__init__()
        channels, height, across = in_shape
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(channels * height * across, width), nn.Tanh())
        self.head = nn.Linear(width, num_outputs)

    def forward(self, images):
        return self.head(self.body(images))


class MyLoss(nn.Module):
    def forward(self, outputs, targets, features):
        return nn.functional.cross_entropy(outputs, targets, reduction="none") + 0.01 * features.square().mean(1)


class Counting(Callback):
    def __init__(self):
        self.steps = 0

    def on_step_end(self, state):
        self.steps += 1

    def state_dict(self):
        return {"steps": self.steps}

    def load_state_dict(self, saved):
        self.steps = saved["steps"]
P
mkdir -p conf/model conf/loss conf/callback
printf '_target_: mine.MyNet\nin_shape: ${data.in_shape}\nnum_outputs: ${data.num_outputs}\nwidth: 3\n' > conf/model/mynet.yaml
printf '_target_: mine.MyLoss\n' > conf/loss/myloss.yaml
printf '# @package callback.counting\n_target_: mine.Counting\n' > conf/callback/counting.yaml
tiny="trainer.progress=false data.batch_size=8"
# Of the seeds one whose network says something else of each photo.
varied="seed=3 optimizer=sgd optimizer.lr=1e-3 optimizer.momentum=0 optimizer.nesterov=false"
nnrun $tiny data=folder data.root=scenes model=cnn model.channels=[2,2] model.hidden=2 trainer.epochs=3 export='[onnx,safetensors]' hydra.run.dir=labels
nnrun $tiny data=arrays data.root=values.npz model.channels=[2,2] model.hidden=2 loss=huber trainer.epochs=3 trainer.validate_every_steps=3 export='[onnx,safetensors]' hydra.run.dir=values
nnrun $tiny data=folder data.root=photos model.channels=[2,2] model.hidden=2 trainer.epochs=1 $varied export=onnx hydra.run.dir=photographs
nnrun $tiny data=folder data.root=photos model.channels=[2,2] model.hidden=2 trainer.epochs=1 $varied data.image_size=[64,48] export=none hydra.run.dir=sized
nnrun $tiny data=folder data.root=photos model=mynet loss=myloss callback=counting data.image_size=16 trainer.epochs=2 export=none hydra.run.dir=own
long="$tiny data=arrays data.root=values.npz model=mlp model.hidden=[3] trainer.epochs=12 optimizer=adamw scheduler=onecycle trainer.validate_every_steps=3 trainer.ema_decay=0.9 early_stopping=none export=none"
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
for run in labels values photographs sized; do nnrun ckpt=$run hydra.run.dir=evaluated/$run; done
nnrun ckpt=own model=mynet loss=myloss hydra.run.dir=evaluated/own
nnrun task=predict ckpt=labels input=scenes hydra.run.dir=predicted/labels
nnrun task=predict ckpt=labels/exports/onnx/model.onnx input=scenes hydra.run.dir=predicted/labels_onnx
nnrun task=predict ckpt=values input=values.npy hydra.run.dir=predicted/values
nnrun task=predict ckpt=values/exports/safetensors/model.safetensors input=values.npy hydra.run.dir=predicted/values_safetensors
nnrun task=predict ckpt=photographs input=photos hydra.run.dir=predicted/photographs
nnrun task=predict ckpt=photographs/exports/onnx/model.onnx input=photos hydra.run.dir=predicted/photographs_onnx
nnrun task=predict ckpt=sized input=photos hydra.run.dir=predicted/sized
rm -rf outputs __pycache__ uninterrupted/checkpoints cache
XZ_OPT=-9e tar --sort=name --owner=0 --group=0 --numeric-owner -cJf ../files.tar.xz ./*
