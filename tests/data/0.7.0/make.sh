#!/usr/bin/env bash
# Writes the files of version 0.7.0 that later versions must keep reading, as the sources of commit d77c1bff write them: what that
# version was the first to write: the folder of a sweep that was stopped between its jobs, jobs of a stack, a run that holds out one of
# several folds, and one that was not tested yet. Run it with that commit's nnrun and python first on PATH, in a new folder; it ends
# with files.tar.xz, beside that folder.
set -euo pipefail
export OMP_NUM_THREADS=1 NNRUN_CACHE="$PWD/cache"
python - <<'P'
import numpy as np

rng = np.random.default_rng(7)
labels = np.arange(90) % 3
x = np.clip(rng.integers(0, 90, (90, 6, 6)) + 60 * labels[:, None, None], 0, 255).astype(np.uint8)
np.savez_compressed("images.npz", x_train=x[:60], y_train=labels[:60], x_test=x[60:], y_test=labels[60:])
np.save("images.npy", x[60:])
P
tiny="trainer.progress=false report=none data=arrays data.root=images.npz data.batch_size=8 model=mlp model.hidden=[3] trainer.epochs=3"
nnrun ${tiny/epochs=3/epochs=12} optimizer.lr=1e-2 data.num_folds=5 data.fold=2 export='[onnx,safetensors]' hydra.run.dir=fold
nnrun $tiny trainer.test=false export=none hydra.run.dir=untested
cp -r untested tested
nnrun resume=tested trainer.test=true
nnrun -m $tiny sweep.stack=true seed=0,1 optimizer.lr=1e-3,1e-2 export=none hydra.sweep.dir=stacked
# A sweep that was stopped after its first job, and what it would have become.
jobs="$tiny sweep.parallel=1 optimizer.lr=1e-3,3e-3,1e-2 export=none"
nnrun -m $jobs hydra.sweep.dir=swept
python - $jobs hydra.sweep.dir=halfway <<'P'
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

while True:
    process = subprocess.Popen(["nnrun", "-m", *sys.argv[1:]])
    while process.poll() is None and not list(Path("halfway").glob("1_*")):
        time.sleep(0.001)
    process.send_signal(signal.SIGTERM)
    if process.wait() == 143:
        break
    shutil.rmtree("halfway")
P
long="${tiny/epochs=3/epochs=12} optimizer=adamw scheduler=cosine trainer.checkpoint_every_steps=2 early_stopping=none export=none"
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
nnrun ckpt=fold hydra.run.dir=evaluated/fold
nnrun ckpt=stacked/best hydra.run.dir=evaluated/stacked/best
nnrun task=predict ckpt=fold input=images.npy hydra.run.dir=predicted/fold
nnrun task=predict ckpt=fold/exports/onnx/model.onnx input=images.npy hydra.run.dir=predicted/fold_onnx
rm -rf swept/*/checkpoints */compare.html
rm -rf outputs __pycache__ uninterrupted/checkpoints cache
XZ_OPT=-9e tar --sort=name --owner=0 --group=0 --numeric-owner -cJf ../files.tar.xz ./*
