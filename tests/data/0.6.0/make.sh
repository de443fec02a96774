#!/usr/bin/env bash
# Writes the files of version 0.6.0 that later versions must keep reading, as the sources of commit 523cf44a write them: what that
# version was the first to write: runs whose number of steps and batch were measured, rows and states of what watches a training, and
# pictures of the costliest mistakes. Run it with that commit's nnrun and python first on PATH, in a new folder; it ends with
# files.tar.xz, beside that folder.
set -euo pipefail
export OMP_NUM_THREADS=1 NNRUN_CACHE="$PWD/cache"
python - <<'P'
import numpy as np

rng = np.random.default_rng(6)
names = np.array(["dark", "gray", "light"])
labels = np.arange(90) % 3
x = np.clip(rng.integers(0, 90, (90, 8, 8)) + 60 * labels[:, None, None], 0, 255).astype(np.uint8)
np.savez_compressed("images.npz", x_train=x[:60], y_train=names[labels[:60]], x_test=x[60:], y_test=names[labels[60:]])
np.save("images.npy", x[60:])
P
tiny="trainer.progress=false report=none data=arrays data.root=images.npz"
nnrun $tiny model.channels=[2] model.hidden=4 optimizer.lr=1e-2 data.batch_size=auto trainer.max_minutes=0.2 trainer.epochs=9 logger=csv export='[onnx,safetensors]' hydra.run.dir=measured
nnrun $tiny data.batch_size=8 model=mlp model.hidden=[3] trainer.epochs=3 trainer.watch=all trainer.watch_every_steps=5 export=none hydra.run.dir=watched
long="$tiny data.batch_size=8 model=mlp model.hidden=[3] trainer.epochs=12 optimizer=adamw scheduler=onecycle trainer.watch=[gradients,activations,updates] trainer.watch_every_steps=3 logger=csv trainer.checkpoint_every_steps=2 trainer.ema_decay=0.9 early_stopping=none export=none"
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
for run in measured watched; do nnrun ckpt=$run hydra.run.dir=evaluated/$run; done
nnrun task=predict ckpt=measured input=images.npy hydra.run.dir=predicted/measured
nnrun task=predict ckpt=measured/exports/onnx/model.onnx input=images.npy hydra.run.dir=predicted/measured_onnx
rm -rf outputs __pycache__ uninterrupted/checkpoints cache
XZ_OPT=-9e tar --sort=name --owner=0 --group=0 --numeric-owner -cJf ../files.tar.xz ./*
