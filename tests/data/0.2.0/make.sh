#!/usr/bin/env bash
# Writes the files of version 0.2.0 that later versions must keep reading, as the sources of commit 392aed5 write them (those call
# themselves 0.1.0 still). Run it with that commit's nnrun and python first on PATH, in a new folder; every path in the files begins
# with that folder's. It ends with files.tar.xz, beside that folder.
set -euo pipefail
export OMP_NUM_THREADS=1 NNRUN_CACHE="$PWD/cache"
python - <<'P'
import pickle
import struct
from pathlib import Path

import numpy as np
import timm
import torch
import torchvision
from nnrun.models.resnet18 import ResNet18
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
# Floats, whose scale is not that of pixels, with texts for labels, whose order as texts is not that of numbers.
np.savez_compressed("floats.npz", x=(images / 16 - 4).astype(np.float32), y=np.array(["1", "2", "10"])[labels])
np.save("floats.npy", (images / 16 - 4).astype(np.float32))
# The formats of MNIST and CIFAR, in small.
def tiny(count, num_classes, channels, side, block):
    labels = rng.permutation(np.arange(count) % num_classes)
    blocks = rng.integers(0, 90, (count, channels, side // block, side // block))
    pixels = blocks + (160 * labels // num_classes)[:, None, None, None]
    return labels, pixels.astype(np.uint8).repeat(block, 2).repeat(block, 3)


for name in ("MNIST", "FashionMNIST", "KMNIST"):
    raw = Path("sets", name, "raw")
    raw.mkdir(parents=True)
    for part, count in (("train", 60), ("t10k", 30)):
        labels, pixels = tiny(count, 10, 1, 12, 4)
        np.save("mnist.npy", pixels[:, 0])
        (raw / f"{part}-images-idx3-ubyte").write_bytes(struct.pack(">4i", 0x803, count, 12, 12) + pixels.tobytes())
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(struct.pack(">2i", 0x801, count) + labels.astype(np.uint8).tobytes())
for folder, parts, key, names, num_classes in (
    ("cifar-10-batches-py", [*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"], "labels", ("batches.meta", "label_names"), 10),
    ("cifar-100-python", ["train", "test"], "fine_labels", ("meta", "fine_label_names"), 100),
):
    Path("sets", folder).mkdir(parents=True)
    for part in parts:
        labels, pixels = tiny(10 if num_classes == 10 else 200, num_classes, 3, 32, 32)
        pixels = pixels.reshape(len(pixels), -1)
        Path("sets", folder, part).write_bytes(pickle.dumps({"data": pixels, key: labels.tolist()}, protocol=2))
    meta = {names[1]: [f"class {number}" for number in range(num_classes)]}
    Path("sets", folder, names[0]).write_bytes(pickle.dumps(meta, protocol=2))
# Weights of large networks in a short pattern, so that the checkpoints compress to almost nothing.
for name, network in (
    ("resnet18", ResNet18([1, 8, 8], 3)),
    ("shufflenet", torchvision.models.shufflenet_v2_x0_5(num_classes=2)),
    ("timm", timm.create_model("test_efficientnet", num_classes=3, in_chans=1)),
):
    state = network.state_dict()
    for key, value in state.items():
        if value.is_floating_point() and "running" not in key:
            count = torch.arange(value.numel()) % 24
            is_norm = value.dim() == 1 and key.endswith("weight")
            state[key] = (((count * 7) % 11 - 5) / 40).reshape(value.shape) + is_norm
    torch.save(state, f"{name}.pth")
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
cat > mydata.py <<'P'
import numpy as np


class MyData:
    classes = ("dark", "light")

    def __init__(self, kind):
        assert kind == "array"

    def __len__(self):
        return 50

    def __getitem__(self, index):
        if index >= len(self):
            raise IndexError(index)
        label = index % 2
        return (np.arange(36, dtype=np.uint8).reshape(6, 6) * (index + 3) % 101) + np.uint8(100 * label), label
P
mkdir -p conf/model conf/data
cat > conf/model/mynet.yaml <<'Y'
_target_: mynet.MyNet
in_shape: ${data.in_shape}
num_classes: ${data.num_classes}
width: 2
Y
cat > conf/data/mine.yaml <<'Y'
defaults: [_base]
name: mine
dataset:
  _target_: mydata.MyData
  kind: array
Y
# stopped DIR STEP WORD...: a run that is stopped at that step or soon after, in the midst of an epoch that is not its first.
stopped() {
  python - "$@" <<'P'
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import torch

name, step, *words = sys.argv[1:]
folder = Path(name, "checkpoints")


def is_in_the_midst():
    progress = torch.load(sorted(folder.glob("step-*.ckpt"))[-1], weights_only=True)["training"]["progress"]
    return progress["batch"] > 0 and progress["epoch"] > 0


while True:
    process = subprocess.Popen(["nnrun", *words, f"hydra.run.dir={name}"])
    while process.poll() is None and not any(int(path.name[5:13]) >= int(step) for path in folder.glob("step-*.ckpt")):
        time.sleep(0.001)
    process.send_signal(signal.SIGTERM)
    if process.wait() == 143 and is_in_the_midst():
        break
    shutil.rmtree(name)
P
}
quick="trainer.progress=false trainer.epochs=2 data.limit=100"
tiny="trainer.progress=false trainer.epochs=2 data.batch_size=8 data.root=sets"
small="trainer.progress=false trainer.epochs=3 data.batch_size=8 model.hidden=[4]"
frozen="trainer.progress=false trainer.epochs=1 data.batch_size=8 transfer.freeze=backbone optimizer=sgd export=none"
before="data.class_order=text data.split_by=position data.white=null"
# The kinds of runs that the files of 0.1.0 hold.
nnrun model=mlp model.hidden=[2] data=mnist $tiny export='[onnx,safetensors]'
mv "$(readlink -f outputs/latest)" mlp
nnrun model=cnn model.channels=[2,2] model.hidden=2 model.batchnorm=true trainer.ema_decay=0.9 scheduler=cosine $quick export=onnx hydra.run.dir=cnn_ema
nnrun model=resnet18 data=folder data.root=photos data.image_size=8 transfer.weights=resnet18.pth trainer.epochs=0 data.batch_size=8 export=none hydra.run.dir=resnet18
nnrun data=folder data.root=photos data.image_size=8 model=mlp $small export=onnx hydra.run.dir=folder
nnrun data=folder data.root=deep model=mlp $small export=none hydra.run.dir=deep16
nnrun data=arrays data.root=arrays.npz model=mlp $small export=safetensors hydra.run.dir=arrays
nnrun model=mynet $quick export=none hydra.run.dir=own
# The rules of 0.1.0, named; another white; floats.
nnrun data=folder data.root=photos data.image_size=8 $before model=mlp $small export=onnx hydra.run.dir=folder_before
nnrun data=folder data.root=deep $before model=mlp $small export=none hydra.run.dir=deep16_before
nnrun data=folder data.root=deep data.white=2000 data.split_seed=3 data.val_fraction=0.2 model=mlp $small export=none hydra.run.dir=deep16_white
nnrun data=arrays data.root=floats.npz data.dataset.layout=NHW data.dataset.test_fraction=0.3 model=mlp $small optimizer=nadam export='[torchscript,pt2,safetensors]' hydra.run.dir=floats
nnrun data=arrays data.root=floats.npz data.class_order=text data.split_by=position model=mlp $small optimizer=adagrad export=none hydra.run.dir=floats_before
nnrun data=mine trust='[mydata]' model=mlp $small optimizer=rmsprop scheduler=exponential export=none hydra.run.dir=own_data
# Every class of nnrun's that a checkpoint can name.
nnrun data=mnist $tiny trainer.epochs=3 model=cnn model.channels=[2,3] model.hidden=4 augment='[digits,mixup]' optimizer=muon scheduler=onecycle export='[onnx,onnx_int8]' export.onnx_int8.max_accuracy_drop=0.2 export.onnx_int8.min_agreement=0.5 hydra.run.dir=mnist
fashion="data=fashion_mnist $tiny trainer.epochs=4 trainer.checkpoint_every_steps=1 model=vgg model.channels=[2,3] model.depth=1 augment=[crop_flip,erasing,cutmix] loss=focal loss.gamma=1.5 loss.alpha=balanced optimizer=adamw scheduler=multistep export=none"
nnrun $fashion hydra.run.dir=fashion
stopped fashion_stopped 8 $fashion
kmnist="data=kmnist $tiny trainer.epochs=4 trainer.checkpoint_every_steps=1 model=mlp model.hidden=[3] augment=trivialaugment loss.weight=balanced loss.label_smoothing=0.1 optimizer=radam scheduler=warmup_cosine trainer.accumulate=2 trainer.grad_clip_norm=1 early_stopping.monitor=valid/accuracy export=torchserve"
nnrun $kmnist hydra.run.dir=kmnist
stopped kmnist_stopped 6 $kmnist
cifar10="data=cifar10 $tiny trainer.epochs=4 trainer.checkpoint_every_steps=1 model=cnn model.channels=[2,2] model.hidden=2 augment=[crop_flip,color] export=none"
nnrun $cifar10 hydra.run.dir=cifar10
stopped cifar10_stopped 8 $cifar10
nnrun data=cifar100 $tiny model=cnn model.channels=[1,1] model.hidden=2 trainer.epochs=1 export=none hydra.run.dir=cifar100
nnrun model=torchvision model.name=shufflenet_v2_x0_5 data=folder data.root=deep $frozen transfer.weights=shufflenet.pth hydra.run.dir=shufflenet
nnrun model=timm model.name=test_efficientnet data=folder data.root=photos data.image_size=8 $frozen transfer.weights=timm.pth hydra.run.dir=timm
nnrun data=torchvision data.dataset.name=MNIST data.download=false $tiny model=mlp model.hidden=[3] loss.weight=[1,2,1,1,1,1,1,1,1,3] scheduler=plateau scheduler.patience=0 trainer.epochs=3 export=none hydra.run.dir=torchvision_set
# Runs that start from others.
nnrun init_from=kmnist data=mnist $tiny model=mlp model.hidden=[3] transfer.layer_decay=0.5 transfer.no_decay_norms=true optimizer=adamw export=none hydra.run.dir=from_kmnist
nnrun transfer.weights=mnist data=kmnist $tiny model=cnn model.channels=[2,3] model.hidden=4 transfer.freeze=backbone transfer.unfreeze_epoch=2 transfer.head_lr_factor=3 transfer.backbone_lr_factor=0.3 scheduler=step scheduler.step_size=1 export=none hydra.run.dir=unfrozen
# A run that was finished, and is trained for one more epoch.
nnrun data=mnist $tiny trainer.epochs=1 model=mlp model.hidden=[3] optimizer=muon export=none hydra.run.dir=finished
cp -a finished longer
nnrun resume=longer trainer.epochs=2
nnrun -m data=arrays data.root=arrays.npz model=mlp $small trainer.epochs=1 export=none optimizer.lr=1e-3,1e-2 hydra.sweep.dir=sweep
long="data=mnist $tiny trainer.epochs=20 model=mlp model.hidden=[3] augment=[digits,mixup] optimizer=adamw scheduler=onecycle early_stopping=none trainer.nonfinite=skip trainer.max_nonfinite=5 trainer.ema_decay=0.9 trainer.checkpoint_every_steps=2 export=none"
nnrun $long hydra.run.dir=uninterrupted
stopped interrupted 16 $long
# What this version says of them.
for run in mlp cnn_ema resnet18 folder folder_before deep16 deep16_before deep16_white arrays floats floats_before mnist fashion kmnist cifar10 cifar100 shufflenet timm torchvision_set from_kmnist unfrozen longer; do
  nnrun ckpt=$run hydra.run.dir=evaluated/$run
done
nnrun ckpt=own model=mynet hydra.run.dir=evaluated/own
nnrun ckpt=own_data trust='[mydata]' hydra.run.dir=evaluated/own_data
for run in folder folder_before; do nnrun task=predict ckpt=$run input=photos hydra.run.dir=predicted/$run; done
for run in deep16 deep16_before deep16_white; do nnrun task=predict ckpt=$run input=deep hydra.run.dir=predicted/$run; done
nnrun task=predict ckpt=folder/exports/onnx/model.onnx input=photos hydra.run.dir=predicted/folder_onnx
nnrun task=predict ckpt=folder_before/exports/onnx/model.onnx input=photos hydra.run.dir=predicted/folder_before_onnx
nnrun task=predict ckpt=arrays/exports/safetensors/model.safetensors input=images.npy hydra.run.dir=predicted/arrays_safetensors
nnrun task=predict ckpt=mnist/exports/onnx_int8/model.onnx input=mnist.npy hydra.run.dir=predicted/mnist_int8
rm -rf outputs __pycache__ uninterrupted/checkpoints ./*.pth
# What is large goes last, so that all else is near to what it resembles.
mapfile -t names < <(ls | grep -vx resnet18)
XZ_OPT=-9e tar --sort=name --owner=0 --group=0 --numeric-owner -cJf ../files.tar.xz "${names[@]}" resnet18
