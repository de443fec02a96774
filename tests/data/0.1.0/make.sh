#!/usr/bin/env bash
# Writes the files of an earlier version that later versions must keep reading. Run it with that version's nnrun and python first
# on PATH, in a new folder; every path in the files begins with that folder's.
set -euo pipefail
export OMP_NUM_THREADS=1 NNRUN_CACHE="$PWD/cache"
python - <<'P'
import numpy as np, torch
from pathlib import Path
from PIL import Image
rng = np.random.default_rng(0)
# Class folders whose order as texts (1, 10, 2) is not that of numbers; sizes that are cropped and resized; no test part.
for label, name in enumerate(("1", "2", "10")):
    Path("photos", name).mkdir(parents=True)
    for i in range(16):
        high, wide = (9, 12) if i % 3 else (8, 8)
        pixels = rng.integers(0, 60, (high, wide)) + 70 * label
        Image.fromarray(pixels.astype(np.uint8)).save(f"photos/{name}/{i}.png")
# 16-bit files that use ten bits.
for label, name in enumerate(("dark", "light")):
    Path("deep", name).mkdir(parents=True)
    for i in range(12):
        Image.fromarray((rng.integers(0, 400, (8, 8)) + 600 * label).astype(np.uint16)).save(f"deep/{name}/{i}.png")
labels = rng.integers(0, 3, 60)
images = (rng.integers(0, 80, (60, 6, 6)) + 60 * labels[:, None, None]).astype(np.uint8)
np.savez_compressed("arrays.npz", x=images, y=labels * 5)
np.save("images.npy", images)
# ResNet-18's weights in a short pattern, so that the checkpoints compress to almost nothing.
from nnrun.models.resnet18 import ResNet18
state = ResNet18([1, 28, 28], 10).state_dict()
for key, value in state.items():
    if value.is_floating_point() and "running" not in key:
        count = torch.arange(value.numel()) % 24
        state[key] = (((count * 7) % 11 - 5) / 40).reshape(value.shape) + (1 if ("bn" in key or "downsample.1" in key) and key.endswith("weight") else 0)
torch.save(state, "pattern.pth")
P
cat > mynet.py <<'P'
from torch import nn


class MyNet(nn.Sequential):
    def __init__(self, in_shape, num_classes, width):
        channels, height, across = in_shape
        super().__init__(
            nn.AvgPool2d(2), nn.Flatten(), nn.Linear(channels * (height // 2) * (across // 2), width), nn.ReLU(), nn.Linear(width, num_classes)
        )
P
mkdir -p conf/model
cat > conf/model/mynet.yaml <<'Y'
_target_: mynet.MyNet
in_shape: ${data.in_shape}
num_classes: ${data.num_classes}
width: 4
Y
quick="trainer.progress=false trainer.epochs=2 data.limit=300"
small="trainer.progress=false trainer.epochs=3 data.batch_size=8 model.hidden=[4]"
nnrun model=mlp model.hidden=[2] $quick export='[onnx,safetensors]' hydra.run.dir=mlp
nnrun model=cnn model.channels=[2,3] model.hidden=4 model.batchnorm=true trainer.ema_decay=0.9 scheduler=cosine $quick export=onnx hydra.run.dir=cnn_ema
nnrun model=resnet18 transfer.weights=pattern.pth transfer.freeze=backbone $quick data.limit=60 optimizer=sgd export=none hydra.run.dir=resnet18_frozen
nnrun data=folder data.root=photos data.image_size=8 model=mlp $small export=onnx hydra.run.dir=folder
nnrun data=folder data.root=deep model=mlp $small export=none hydra.run.dir=deep16
nnrun data=arrays data.root=arrays.npz model=mlp $small export=safetensors hydra.run.dir=arrays
nnrun model=mynet $quick export=none hydra.run.dir=own
python - <<'P'
# Stopped in the midst of its second epoch.
import signal, subprocess, time
from pathlib import Path
words = "nnrun model=mlp model.hidden=[2] trainer.progress=false trainer.epochs=60 early_stopping=none data.limit=300 export=none hydra.run.dir=interrupted trainer.checkpoint_every_steps=3"
process = subprocess.Popen(words.split())
while not list(Path("interrupted/checkpoints").glob("step-*")):
    time.sleep(0.02)
process.send_signal(signal.SIGTERM)
assert process.wait() == 143
P
nnrun model=mlp model.hidden=[2] trainer.progress=false trainer.epochs=60 early_stopping=none data.limit=300 export=none hydra.run.dir=uninterrupted trainer.checkpoint_every_steps=3
for run in mlp cnn_ema resnet18_frozen folder deep16 arrays; do nnrun ckpt=$run hydra.run.dir=evaluated/$run; done
nnrun ckpt=own model=mynet hydra.run.dir=evaluated/own
for run in folder deep16; do
  nnrun task=predict ckpt=$run input=$([ $run = folder ] && echo photos || echo deep) hydra.run.dir=predicted/$run
done
nnrun task=predict ckpt=folder/exports/onnx/model.onnx input=photos hydra.run.dir=predicted/folder_onnx
nnrun task=predict ckpt=arrays/exports/safetensors/model.safetensors input=images.npy hydra.run.dir=predicted/arrays_safetensors
rm -rf outputs __pycache__
