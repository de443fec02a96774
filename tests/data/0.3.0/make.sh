#!/usr/bin/env bash
# Writes the files of version 0.3.0 that later versions must keep reading, as the sources of commit c28a830 write them: what that
# version was the first to write, targets in checkpoints and cards, and the states of callbacks under the names of their classes. Run
# it with that commit's nnrun and python first on PATH, in a new folder; every path in the files begins with that folder's. It ends
# with files.tar.xz, beside that folder.
set -euo pipefail
export OMP_NUM_THREADS=1 NNRUN_CACHE="$PWD/cache"
python - <<'P'
import struct
from pathlib import Path

import numpy as np
from PIL import Image

rng = np.random.default_rng(3)
for label, name in enumerate(("1", "2", "10")):
    Path("photos", name).mkdir(parents=True)
    for i in range(16):
        pixels = rng.integers(0, 60, (12, 12)) + 70 * label
        Image.fromarray(pixels.astype(np.uint8)).save(f"photos/{name}/{i}.png")
raw = Path("sets", "MNIST", "raw")
raw.mkdir(parents=True)
for part, count in (("train", 60), ("t10k", 30)):
    labels = rng.permutation(np.arange(count) % 10)
    pixels = (rng.integers(0, 90, (count, 12, 12)) + (16 * labels)[:, None, None]).astype(np.uint8)
    (raw / f"{part}-images-idx3-ubyte").write_bytes(struct.pack(">4i", 0x803, count, 12, 12) + pixels.tobytes())
    (raw / f"{part}-labels-idx1-ubyte").write_bytes(struct.pack(">2i", 0x801, count) + labels.astype(np.uint8).tobytes())
P
cat > mynet.py <<'P'
from torch import nn


class MyNet(nn.Sequential):
    def __init__(self, in_shape, num_classes, width):
        channels, height, across = in_shape
        super().__init__(nn.Flatten(), nn.Linear(channels * height * across, width), nn.ReLU(), nn.Linear(width, num_classes))
P
mkdir -p conf/model
cat > conf/model/mynet.yaml <<'Y'
_target_: mynet.MyNet
in_shape: ${data.in_shape}
num_classes: ${data.num_classes}
width: 2
Y
tiny="data=mnist trainer.progress=false data.batch_size=8 data.root=sets"
nnrun $tiny model=mlp model.hidden=[2] trainer.epochs=2 loss.weight=balanced early_stopping.monitor=valid/accuracy export='[onnx,safetensors,onnx_int8]' export.onnx_int8.max_accuracy_drop=0.9 export.onnx_int8.min_agreement=0 hydra.run.dir=mlp
nnrun data=folder data.root=photos trainer.progress=false trainer.epochs=3 data.batch_size=8 model=cnn model.channels=[2,2] model.hidden=2 trainer.ema_decay=0.9 scheduler=plateau scheduler.patience=0 export=onnx hydra.run.dir=folder
nnrun $tiny model=mynet trainer.epochs=2 loss=focal export=none hydra.run.dir=own
long="$tiny trainer.epochs=20 model=mlp model.hidden=[3] augment=[digits,mixup] optimizer=adamw scheduler=onecycle early_stopping.patience=15 trainer.nonfinite=skip trainer.ema_decay=0.9 trainer.checkpoint_every_steps=2 export=none"
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
for run in mlp folder; do nnrun ckpt=$run hydra.run.dir=evaluated/$run; done
nnrun ckpt=own model=mynet hydra.run.dir=evaluated/own
nnrun task=predict ckpt=folder input=photos hydra.run.dir=predicted/folder
nnrun task=predict ckpt=folder/exports/onnx/model.onnx input=photos hydra.run.dir=predicted/folder_onnx
rm -rf outputs __pycache__ uninterrupted/checkpoints
XZ_OPT=-9e tar --sort=name --owner=0 --group=0 --numeric-owner -cJf ../files.tar.xz ./*
