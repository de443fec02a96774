"""Bad configs, line by line: the exit code, the words that say what to do, and nothing done or left behind.

Negative control: the last tests show that a right config passes both tables' rules, and that NNRUN_DEBUG=1 does show
the traceback that is asserted to be absent.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from support.command_line import OWN_MODULE, OWN_YAML, Outcome, Row, nnrun, run_rows_apart

OWN = {"conf/model/mynet.yaml": OWN_YAML, "mynet.py": OWN_MODULE}


def own(yaml: str, name: str = "conf/model/mynet.yaml") -> dict[str, str]:
    return {name: yaml, "mynet.py": OWN_MODULE}


# Names, types, ranges and clashes: all found without torch.
TABLE = ("data=table", "data.root=t.csv", "data.target=y")
TIER_ONE: dict[str, Row] = {
    # names
    "misspelt key": Row(["optimizer.lrr=0.1"], 2, ["optimizer.lrr is not a setting; did you mean 'optimizer.lr'?"]),
    "misspelt key of ours": Row(["trainer.epoch=3"], 2, ["trainer.epoch is not", "did you mean 'trainer.epochs'?"]),
    "key like none": Row(
        ["trainer.foo=1"], 2, ["trainer.foo is not", "available: trainer.accumulate", "trainer.epochs"]
    ),
    "misspelt section": Row(["optimiser.lr=0.1"], 2, ["optimiser is not a setting; did you mean 'optimizer'?"]),
    "misspelt section of a task": Row(["insect.steps=9"], 2, ["insect is not a setting; did you mean 'inspect'?"]),
    "bare leaf": Row(["lr=0.1"], 2, ["lr is not a setting; did you mean 'optimizer.lr'?"]),
    "what others call a setting": Row(
        ["data.batch=32", "max_epochs=3", "optimizer.learning_rate=1"],
        2,
        ["did you mean 'data.batch_size'?", "did you mean 'trainer.epochs'?", "did you mean 'optimizer.lr'?"],
    ),
    "what others call an option": Row(
        ["model=resnet50"], 2, ["did you mean 'model=torchvision model.name=resnet50'? available: auto, bag, cnn"]
    ),
    "what others call a value": Row(["trainer.precision=16-mixed"], 2, ["fp16; did you mean 'fp16'?"]),
    "what others call a metric": Row(
        ["early_stopping.monitor=val_loss"], 2, ["valid/loss, valid/accuracy", "; did you mean 'valid/loss'?"]
    ),
    "misspelt value": Row(["task=evalute"], 2, ["inspect, ", "did you mean 'evaluate'?"]),
    "misspelt export": Row(["export=onx"], 2, ["export=onx is not an option; did you mean 'onnx'?"]),
    "a setting of another option": Row(["loss.gamma=1"], 2, ["loss.gamma is not a setting", "; loss=focal has it"]),
    "a setting and its value": Row(["epochs", "3"], 2, ["'epochs' is neither", "did you mean 'trainer.epochs=3'?"]),
    "a setting as a flag": Row(
        ["--epochs", "3", "--lr=0.1"],
        2,
        ["--epochs is not a flag: settings have no dashes; did you mean 'trainer.epochs=3'?", "'optimizer.lr=0.1'"],
    ),
    "an option alone": Row(["resnet50"], 2, ["did you mean 'model=torchvision model.name=resnet50'?"]),
    "a task alone": Row(["train"], 2, ["'train' is neither", "did you mean 'task=train'?"]),
    "misspelt group": Row(["modle=cnn"], 2, ["modle is not a setting; did you mean 'model'?"]),
    "misspelt option": Row(
        ["model=cnnn"], 2, ["model=cnnn is not an option; did you mean 'cnn'? available: auto, bag, cnn"]
    ),
    "unknown option": Row(["optimizer=zzz"], 2, ["optimizer=zzz is not", "available: adagrad, adam,"], {}, ["mean"]),
    "unknown experiment": Row(
        ["experiment=unknown"], 2, ["experiment=unknown is not an option; available: ", "none, quick_digits"]
    ),
    "option by path": Row(["model=../model/cnn"], 2, ["model=../model/cnn is not an option"]),
    "hidden option": Row(["data=_base"], 2, ["data=_base is not an option", "digits"]),
    "no option": Row(["optimizer=none"], 2, ["optimizer=none is not an option"]),
    "no augmentation in a list": Row(["augment=[]"], 2, ["augment=[] names no option; write augment=none"]),
    "the same option twice": Row(
        ["augment=[mixup,digits,mixup]"], 2, ["augment=[mixup,digits,mixup] names mixup twice"]
    ),
    "a setting where there is none": Row(
        ["data.dataset.test_fraction=0.5"], 2, ["data.dataset.test_fraction is not a setting; data.dataset has none"]
    ),
    "no export in a list": Row(["export=[]"], 2, ["export=[] names no option; write export=none"]),
    "no stage": Row(
        ["model=vgg", "model.channels=[]"], 2, ["model.channels is []; allowed: a list of numbers, at least"]
    ),
    "no convolution a stage": Row(
        ["model=vgg", "model.depth=0"], 2, ["model.depth is 0; allowed: a whole number from 1 up"]
    ),
    "settings for a group": Row(
        ["optimizer={lr: 0.1}"], 2, ["optimizer takes one option (available: adagrad", "write optimizer.lr=0.1"]
    ),
    "settings for a group, with plus": Row(["+optimizer={lr: 0.1}"], 2, ["write optimizer.lr=0.1"]),
    "no settings for a group": Row(
        ["model={}"], 2, ["model takes one option (available: auto, bag, cnn"], {}, ["write model"]
    ),
    "settings for exporters": Row(
        ["export={onnx: {opset: 18}}"], 2, ["export takes options, one or a list of them", "write export.onnx.opset=18"]
    ),
    "settings in a list": Row(["augment=[{mixup: {alpha: 1}},digits]"], 2, ["write augment.mixup.alpha=1"]),
    "a list in a list": Row(["model=[[cnn]]"], 2, ["model takes one option (available: auto, bag, cnn"]),
    "a run directory that leads nowhere": Row(
        ["hydra.run.dir=logs/${nope}"], 2, ["hydra.run.dir=logs/${nope} refers to nope, which does not exist"]
    ),
    "a run directory in broken grammar": Row(
        ["hydra.run.dir=logs/${"], 2, ["hydra.run.dir=logs/${ cannot be resolved"]
    ),
    "a run directory named by what the data tells": Row(
        ["hydra.run.dir=logs/${data.in_shape}"], 2, ["refers to data.in_shape, which is not known here"]
    ),
    "a run directory of a job of Hydra's": Row(
        ["hydra.run.dir=logs/${hydra:job.num}"], 2, ["refers to hydra:job.num, which is not known here"]
    ),
    "a checkpoint of an unset variable": Row(
        ["ckpt=${oc.env:NOT_SET_ANYWHERE}"], 2, ["needs the environment variable NOT_SET_ANYWHERE, which is not set"]
    ),
    "a byte order mark before the package": Row(
        ["model=mynet"],
        2,
        ["mine.yaml begins with a byte order mark, which hides its line '# @package'"],
        own("\xef\xbb\xbf# @package _global_\nseed: 1\n", "conf/experiment/mine.yaml") | OWN,
    ),
    "two options": Row(["model=[mlp,cnn]"], 2, ["model takes one option; available: auto, bag, cnn"]),
    "plus": Row(["+typo=1"], 2, ["typo is not a setting; available: augment, batch_find, callback, ckpt,"]),
    "two plus": Row(["++trainer.foo=1"], 2, ["trainer.foo is not a setting"]),
    "setting of another option": Row(["model=mlp", "model.channels=[3]"], 2, ["model.channels", "model.dropout"]),
    "setting of none": Row(
        ["scheduler.gamma=0.1"],
        2,
        ["scheduler.gamma has no effect with scheduler=none", "choose scheduler=exponential or scheduler=multistep or"],
    ),
    "setting of early stopping none": Row(
        ["early_stopping=none", "early_stopping.patience=3"], 2, ["early_stopping.patience has no effect"]
    ),
    "setting of an exporter": Row(["export.onnx.opsett=18"], 2, ["did you mean 'export.onnx.opset'?"]),
    "exporter not chosen": Row(["export.onx.opset=18"], 2, ["export.onx has no _target_", "export=..."]),
    # words
    "unknown flag": Row(["--foo"], 2, ["--foo is not a flag"]),
    "misspelt flag": Row(["--multrun"], 2, ["--multrun is not a flag; did you mean '--multirun'?"]),
    "flag without its word": Row(["--cfg"], 2, ["--cfg takes job, hydra, all"]),
    "flag with a wrong word": Row(["--cfg", "jobb"], 2, ["--cfg takes job, hydra, all"]),
    "flag that needs another": Row(["--resolve"], 2, ["--resolve has an effect only with --cfg"]),
    "no folder named": Row(["--config-dir"], 2, ["--config-dir needs a folder"]),
    "no such folder": Row(["--config-dir", "nope"], 2, ["--config-dir nope is not a folder"]),
    "word without =": Row(["hello"], 2, ["'hello' is neither a flag nor key=value", "nnrun --help"]),
    "group without =": Row(["modl"], 2, ["'modl' is neither", "did you mean 'model'?"]),
    "group alone": Row(
        ["optimizer"], 2, ["'optimizer' is neither", "write the option after it, such as optimizer=adagrad"]
    ),
    "deletion of a group that every run needs": Row(
        ["~optimizer"], 2, ["would delete a setting; choose another option with optimizer="]
    ),
    "no key": Row(["=3"], 2, ["'=3' is neither a flag nor key=value"]),
    "no value": Row(["optimizer.lr="], 2, ["optimizer.lr has no value; write one after the ="]),
    "no option after =": Row(["model="], 2, ["model has no value"]),
    "deletion": Row(["~optimizer.lr"], 2, ["would delete a setting; write optimizer.lr=null"]),
    "deletion of a group": Row(["~scheduler"], 2, ["would delete a setting; write scheduler=none"]),
    "package": Row(["model@foo=cnn"], 2, ["'model@foo=cnn' moves a section", "write model=..."]),
    "open quote": Row(["optimizer.lr='a"], 2, ["cannot be parsed; put two pairs of quotes"], {}, ["token", "EOF"]),
    "two =": Row(["model.hidden=b=c"], 2, ["'model.hidden=b=c' cannot be parsed; put two pairs"], {}, ["mismatched"]),
    "space in a number": Row(["optimizer.lr=a b"], 2, ["optimizer.lr is 'a b'; allowed: a finite number above 0"]),
    "several values": Row(["trainer.epochs=1,2"], 2, ["'trainer.epochs=1,2' names several values", "nnrun -m"]),
    "several options": Row(["model=mlp,cnn"], 2, ["'model=mlp,cnn' names several values"], {}, ["write a list"]),
    "hydra's chdir": Row(["hydra.job.chdir=true"], 2, ["hydra.job.chdir is not used here", "hydra.run.dir"]),
    "hydra's launcher": Row(["hydra/launcher=x"], 2, ["hydra/launcher=x has no counterpart here", "launch=slurm"]),
    # types and ranges
    "lr text": Row(["optimizer.lr=abc"], 2, ["optimizer.lr is 'abc'; allowed: a finite number above 0"]),
    "lr negative": Row(["optimizer.lr=-1"], 2, ["optimizer.lr is -1; allowed"]),
    "lr nan": Row(["optimizer.lr=nan"], 2, ["optimizer.lr is nan; allowed"]),
    "lr inf": Row(["optimizer.lr=inf"], 2, ["optimizer.lr is inf; allowed"]),
    "lr mapping": Row(["optimizer.lr.x=1"], 2, ["optimizer.lr is {'x': 1}; allowed"]),
    "momentum 5": Row(["optimizer=sgd", "optimizer.momentum=5"], 2, ["optimizer.momentum is 5", "from 0 and below 1"]),
    "one beta": Row(["optimizer.betas=[0.9]"], 2, ["optimizer.betas is [0.9]; allowed: a list of 2 numbers"]),
    "batch_size 0": Row(["data.batch_size=0"], 2, ["data.batch_size is 0; allowed: a whole number from 1 up"]),
    "batch_size -1": Row(["data.batch_size=-1"], 2, ["data.batch_size is -1; allowed"]),
    "batch_size 2.5": Row(["data.batch_size=2.5"], 2, ["data.batch_size is 2.5; allowed"]),
    "batch_size true": Row(["data.batch_size=true"], 2, ["data.batch_size is true; allowed"]),
    "epochs -1": Row(["trainer.epochs=-1"], 2, ["trainer.epochs is -1; allowed: a whole number from 0 up"]),
    "epochs null": Row(["trainer.epochs=null"], 2, ["trainer.epochs is null; allowed"]),
    "epochs quoted": Row(["trainer.epochs='5'"], 2, ["trainer.epochs is '5'; allowed"]),
    "dropout 1.5": Row(["model.dropout=1.5"], 2, ["model.dropout is 1.5; allowed: a finite number from 0 to 1"]),
    "hidden -5": Row(["model=mlp", "model.hidden=-5"], 2, ["model.hidden is -5; allowed"]),
    "workers -1": Row(["data.num_workers=-1"], 2, ["data.num_workers is -1; allowed"]),
    "image_size 0": Row(["data=folder", "data.image_size=0"], 2, ["data.image_size is 0; allowed", "[height, width]"]),
    "channels 2": Row(["data=folder", "data.channels=2"], 2, ["data.channels is 2; allowed: 1, 3 or null"]),
    "on_bad": Row(["data=folder", "data.on_bad=ignore"], 2, ["data.on_bad is 'ignore'; allowed: error, skip"]),
    "no kind of column": Row(
        [*TABLE, "data.columns={a: numbr}"],
        2,
        ["data.columns is {'a': 'numbr'}; allowed: titles with kinds", "boolean"],
    ),
    "a column named twice": Row(
        [*TABLE, "data.columns={a: number}", "data.drop=[a, y]"],
        2,
        ["has no effect on a column that data.drop=['a', 'y'] leaves out", "and data.target=y name the same column"],
    ),
    "the group is set too": Row(
        [*TABLE, "data.columns={g: category}", "data.group=g"],
        2,
        ["data.columns={'g': 'category'} has no effect on the column of data.group=g, which is left out; remove it"],
    ),
    "the target twice": Row([*TABLE, "data.target=[y, y]"], 2, ["data.target is ['y', 'y']; allowed", "each once"]),
    "the text is the target": Row(
        ["data=text", "data.root=t.csv", "data.text=y", "data.target=[x, y]"],
        2,
        ["data.text=y and data.target=['x', 'y'] name the same column"],
    ),
    "what the data does not take": Row(
        ["data.image_size=32", "data.on_bad=skip"],
        2,
        ["data.image_size=32 has no effect: data=digits does not take it", "data.on_bad=skip has no effect"],
    ),
    "limit 0": Row(["data.limit=0"], 2, ["data.limit is 0; allowed", "or null"]),
    "unknown device": Row(["trainer.device=gpu"], 2, ["trainer.device is 'gpu'; allowed: auto, cpu, cuda, cuda:1"]),
    "no device number": Row(["trainer.device=cuda:x"], 2, ["trainer.device is 'cuda:x'; allowed"]),
    "unknown precision": Row(["trainer.precision=fp8"], 2, ["trainer.precision is 'fp8'; allowed: auto, fp32, bf16"]),
    "neither true nor false": Row(["trainer.deterministic=yes"], 2, ["is 'yes'; allowed: true or false"]),
    "seed -1": Row(["seed=-1"], 2, ["seed is -1; allowed: a whole number from 0 to 9223372036854775807"]),
    "seed 2**63": Row([f"seed={2**63}"], 2, [f"seed is {2**63}; allowed"]),
    "last word wins": Row(["seed=1", "seed=x"], 2, ["seed is 'x'"]),
    "unknown task": Row(["task=predit"], 2, ["task is 'predit'; allowed: auto, train, evaluate"]),
    "section as a value": Row(["data.dataset=1"], 2, ["data.dataset is 1; allowed: a section with a _target_"]),
    "options no mapping": Row(
        ["data=torchvision", "data.dataset.name=SVHN", "data.dataset.options=3"],
        2,
        ["data.dataset.options is 3; allowed: parameters by name"],
    ),
    "trust as a number": Row(["trust=1"], 2, ["trust is 1; allowed: a list of strings"]),
    "unknown metric": Row(
        ["early_stopping.monitor=valid/acc"], 2, ["early_stopping.monitor is 'valid/acc'", "valid/loss, valid/accuracy"]
    ),
    "a loss of another kind than the data": Row(
        ["loss=mse"],
        2,
        ["loss=mse is for values, and data=digits has classes; choose loss=auto or cross_entropy or focal"],
    ),
    "a problem of another kind than the data": Row(
        ["problem=regression"],
        2,
        ["problem=regression learns values, and data=digits has classes; choose problem=auto"],
    ),
    "a loss of another kind than the problem": Row(
        ["problem=regression", "loss=focal", "data=arrays"],
        2,
        ["loss=focal is for classes, and problem=regression learns values; choose loss=auto or huber or mae or mse"],
    ),
    "a problem of another kind than is said of the data": Row(
        ["problem=regression", "data=arrays", "data.targets=labels"],
        2,
        ["problem=regression learns values, and data.targets=labels; choose problem=auto or multilabel"],
    ),
    "a setting of a loss that auto does not mean": Row(
        ["problem=regression", "loss.weight=balanced", "data=arrays"],
        2,
        ["loss.weight has no effect: problem=regression learns values, for which loss=auto means mse; remove it"],
    ),
    "a setting of a loss that auto does not mean for this data": Row(
        ["loss.pos_weight=balanced"],
        2,
        ["loss.pos_weight has no effect: data=digits has classes, for which loss=auto means cross_entropy"],
    ),
    "a metric of another problem": Row(["early_stopping.monitor=valid/r2"], 2, ["allowed: valid/loss, valid/accuracy"]),
    "a problem without an option": Row(
        ["problem=ranking"], 2, ["available: auto, classification, multilabel, regression"]
    ),
    "metric of the test": Row(["early_stopping.monitor=test/loss"], 2, ["allowed: valid/loss"]),
    # what leads nowhere
    "missing": Row(["loss.label_smoothing=???"], 2, ["loss.label_smoothing must be given", "loss.label_smoothing=..."]),
    "missing in a file": Row(["model=mynet"], 2, ["model.hidden must be given"], own(OWN_YAML.replace("16", "???"))),
    "circle": Row(["optimizer.lr=${optimizer.lr}"], 2, ["optimizer.lr refers to itself in a circle"]),
    "circle of two": Row(
        ["model=mynet"],
        2,
        ["refers to itself in a circle"],
        own(OWN_YAML.replace("16", "${model.a}") + "a: ${model.hidden}\n"),
    ),
    "reference to nothing": Row(["seed=${nosuch}"], 2, ["seed refers to nosuch, which does not exist"]),
    "unset variable": Row(
        ["data.root=${oc.env:NO_SUCH}", "optimizer.lr=${oc.env:NO_SUCH}"],
        2,
        ["optimizer.lr needs the environment variable NO_SUCH, which is not set"],
        {},
        ["KeyError", "interpolation"],
    ),
    # settings that exclude each other
    "fp16 on a CPU": Row(["trainer.device=cpu", "trainer.precision=fp16"], 2, ["exclude each other", "fp32 or bf16"]),
    "ckpt with resume": Row(["ckpt=a", "resume=b"], 2, ["ckpt and resume exclude each other"]),
    "ckpt with init_from": Row(["ckpt=a", "init_from=b"], 2, ["ckpt and init_from exclude each other"]),
    "resume with init_from": Row(["resume=a", "init_from=b"], 2, ["resume and init_from exclude each other"]),
    "train with ckpt": Row(["task=train", "ckpt=x"], 2, ["task=train and ckpt exclude each other; init_from="]),
    "evaluate without ckpt": Row(["task=evaluate"], 2, ["task=evaluate needs ckpt="]),
    "input": Row(["input=x.png"], 2, ["input=x.png has no effect"]),
    "workers without a stream": Row(["data.num_workers=2"], 2, ["has an effect only with data.residency=stream"]),
    "no validation": Row(
        ["data.val_fraction=0"], 2, ["leaves early stopping nothing to monitor; add early_stopping=none"]
    ),
    "no validation for plateau": Row(
        ["data.val_fraction=0", "early_stopping=none", "scheduler=plateau"], 2, ["choose another scheduler"]
    ),
    "mode against metric": Row(
        ["early_stopping.mode=min", "early_stopping.monitor=valid/accuracy"], 2, ["would select the worst weights"]
    ),
    "nesterov without momentum": Row(["optimizer=sgd", "optimizer.momentum=0"], 2, ["set optimizer.nesterov=false"]),
    "none with another": Row(["export=[onnx,none]"], 2, ["export=[onnx,none] names none beside another option"]),
    "sweep over ckpt": Row(["-m", "ckpt=a,b"], 2, ["cannot sweep over ckpt;"]),
    "sweep over init_from": Row(["-m", "init_from=choice(a,b)"], 2, ["cannot sweep over init_from;"]),
    "resume in a sweep": Row(["-m", "seed=0,1", "resume=x"], 2, ["resume= continues a single run"]),
    "run.dir in a sweep": Row(["-m", "seed=0,1", "hydra.run.dir=x"], 2, ["use hydra.sweep.dir="]),
    "used sweep.dir": Row(
        ["-m", "seed=0,1", "hydra.sweep.dir=used"], 2, ["hydra.sweep.dir=used is in use"], {"used/a": ""}
    ),
    # files
    "duplicate key": Row(["model=mynet"], 2, ["mynet.yaml, line 6", "duplicate key"], own(OWN_YAML + "hidden: 1\n")),
    "tab": Row(["model=mynet"], 2, ["mynet.yaml, line 6", "'\\t'"], own(OWN_YAML + "\tx: 1\n")),
    "broken YAML": Row(["model=mynet"], 2, ["conf/model/mynet.yaml, line 7"], own(OWN_YAML + "x: [1, 2\n")),
    "list": Row(["model=mynet"], 2, ["mynet.yaml holds a list, but must hold settings"], own("- a\n- b\n")),
    "single value": Row(["model=mynet"], 2, ["mynet.yaml holds a single value"], own("hello\n")),
    "not UTF-8": Row(["model=mynet"], 2, ["mynet.yaml is not text in UTF-8"], own(OWN_YAML + "x: \xff\n")),
    "empty file": Row(["model=mynet"], 2, ["model has no _target_", "model=..."], own("")),
    "defaults in a circle": Row(["model=mynet"], 2, ["refer back to itself"], own("defaults: [mynet]\n" + OWN_YAML)),
    "defaults that are not there": Row(
        ["model=mynet"], 2, ["model/mynet.yaml names model/nosuch"], own("defaults: [nosuch]\n" + OWN_YAML), ["search"]
    ),
    "experiment of an unknown option": Row(
        ["experiment=e"],
        2,
        ["names model/nosuch in its defaults, but there is no such option"],
        own("# @package _global_\ndefaults:\n  - override /model: nosuch\n", "conf/experiment/e.yaml"),
    ),
    "experiment with a typo": Row(
        ["experiment=e"],
        2,
        ["trainer.epoch is not a setting; did you mean 'trainer.epochs'?"],
        own("# @package _global_\ntrainer:\n  epoch: 4\n", "conf/experiment/e.yaml"),
    ),
    "experiment without its first line": Row(
        ["experiment=e"], 2, ["# @package _global_"], own("trainer:\n  epochs: 4\n", "conf/experiment/e.yaml")
    ),
    "option named like ours": Row(
        [], 2, ["conf/model/cnn.yaml has the name of an option"], own("", "conf/model/cnn.yaml")
    ),
    "text for an own number": Row(["model=mynet", "model.hidden=abc"], 2, ["model.hidden is 'abc'; allowed: a w"], OWN),
    # all at once
    "several": Row(
        [
            "data.batch_size=0",
            "optimizer.lr=-1",
            "modle=cnn",
            "+typo=1",
            "model=zzz",
            "seed=",
            "~loss",
            "ckpt=a",
            "resume=b",
        ],
        2,
        [
            *("data.batch_size is 0", "optimizer.lr is -1", "modle is not", "typo is not", "model=zzz is not"),
            *("seed has no value", "'~loss' would delete", "ckpt and resume exclude each other"),
        ],
    ),
    "several flags": Row(["--foo", "--bar"], 2, ["--foo is not a flag", "--bar is not a flag"]),
    # A checkpoint that is not there is wrong without torch, too.
    "no checkpoint": Row(["ckpt=nope"], 4, ["nope does not exist"]),
    "no checkpoint, near": Row(
        ["ckpt=ouputs"], 4, ["ouputs does not exist; did you mean 'outputs'?"], {"outputs/a": ""}
    ),
    "no checkpoint, beside what is hidden": Row(
        ["ckpt=nope"], 4, [" holds outputs, things"], {".git/a": "", ".x/a": "", "outputs/a": "", "things/a": ""}
    ),
    "no run": Row(["resume=folder"], 4, ["folder is not a run directory"], {"folder/a": ""}),
}

# What needs torch, or the disk; still before data is read.
TIER_TWO: dict[str, Row] = {
    "no such module": Row(
        ["model._target_=nosuch.Net"], 2, ["model._target_=nosuch.Net cannot be imported", "put your own module into "]
    ),
    "no such class": Row(
        ["model._target_=nnrun.components.models.cnn.CNNN"], 2, ["has no 'CNNN'; did you mean 'CNN'?"]
    ),
    "by position": Row(
        ["model=mynet"],
        2,
        ["model._args_ is not allowed: nnrun.components.models.torchvision.Torchvision takes its parameters by name"],
        own("_target_: nnrun.components.models.torchvision.Torchvision\n_args_: [resnet18, [1, 28, 28], 10]\n"),
    ),
    "no module": Row(["model._target_=Net"], 2, ["has no module; write module.Net"]),
    "not allowed": Row(["model._target_=os.system"], 2, ["model._target_=os.system is not allowed: name a Module"]),
    "not of its kind": Row(["model._target_=torch.optim.Adam"], 2, ["is not allowed: it is not a Module"]),
    "no data set": Row(
        ["data.dataset._target_=torch.utils.data.IterableDataset"], 2, ["nor a data set with __getitem__ and __len__"]
    ),
    "no such parameter": Row(
        ["model=mynet", "model.hiden=3"],
        2,
        ["model.hiden is not a parameter of mynet.MyNet; did you mean 'hidden'?"],
        OWN,
    ),
    "no such parameter in a file": Row(
        ["model=mynet"], 2, ["model.hiden is not a parameter of mynet.MyNet"], own(OWN_YAML + "hiden: 3\n")
    ),
    "parameters of another class": Row(
        ["optimizer._target_=torch.optim.Adamax"], 2, ["optimizer.amsgrad is not a parameter", "it takes lr, betas"]
    ),
    "parameter left out": Row(
        ["model=mynet"],
        2,
        ["model.num_classes must be given: mynet.MyNet needs it"],
        own(OWN_YAML.replace("num_classes: ${data.num_classes}\n", "")),
    ),
    "own module not there": Row(
        ["model=mynet"], 2, ["No module named 'mynet'; put your own module into"], {"conf/model/mynet.yaml": OWN_YAML}
    ),
    "own module that lacks another": Row(
        ["model=mynet"], 2, ["No module named 'nosuch'; mynet imports it"], OWN | {"mynet.py": "import nosuch\n"}
    ),
    "own module that does not parse": Row(
        ["model=mynet"],
        2,
        ["fails with SyntaxError: ", "mynet.py, line 2"],
        OWN | {"mynet.py": "x = 1\ndef f(:\n"},
        ["frozen"],
    ),
    "device not here": Row(
        ["trainer.device=cuda"], 5, ["trainer.device=cuda: this machine has no", "trainer.device=auto"]
    ),
    "a captured step": Row(
        ["trainer.cuda_graph=true", "trainer.device=cpu"], 2, ["cuda_graph=true needs a GPU", "the device is cpu"]
    ),
    "device number not here": Row(["trainer.device=cuda:7"], 5, ["trainer.device=cuda:7: this machine has"]),
    "fp16 without a GPU": Row(["trainer.precision=fp16"], 2, ["trainer.precision=fp16 needs a GPU", "fp32 or bf16"]),
    "several": Row(
        ["model._target_=os.system", "optimizer._target_=nosuch.X", "trainer.device=cuda:9"],
        2,
        ["model._target_=os.system", "optimizer._target_=nosuch.X", "trainer.device=cuda:9"],
    ),
    "used run.dir": Row(["hydra.run.dir=used"], 2, ["hydra.run.dir=used is in use", "resume=used"], {"used/a": ""}),
    "run.dir is a file": Row(["hydra.run.dir=file"], 5, ["cannot write file"], {"file": ""}),
    "outputs is a file": Row(["model=mlp"], 5, ["cannot write outputs"], {"outputs": ""}),
}


SHORT = ("model=mynet", "trainer=debug", "data.limit=200", "export=none", "trainer.progress=false")
SPATIAL = own(OWN_YAML + "dropout: spatial\n") | {"mynet.py": OWN_MODULE.replace("mood=", "dropout=None, mood=")}
# What is right, in the same process: the later rows read what the earlier ones wrote.
OTHERS: dict[str, Row] = {
    "zero epochs": Row([*SHORT[1:], "model=mlp", "trainer.epochs=0"], 0, []),
    "own": Row([*SHORT, "model.mood=${oc.env:HOME}"], 0, [], OWN),
    "trained": Row([*SHORT, "hydra.run.dir=../run"], 0, [], SPATIAL),
    "loaded": Row(["ckpt=../run", "trust=[mynet]"], 0, [], SPATIAL),
}


@pytest.fixture(scope="module")
def tier_one(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome]:
    return run_rows_apart(TIER_ONE, tmp_path_factory.mktemp("one"))


@pytest.fixture(scope="module")
def tier_two(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome]:
    return run_rows_apart(TIER_TWO | OTHERS, tmp_path_factory.mktemp("two"))


def assert_helps(row: Row, outcome: Outcome) -> None:
    """The exit code, the words, and the form of every message; no word of Python's or Hydra's inside."""
    assert outcome.code == row.code, outcome.err
    for text in row.says:
        assert text in outcome.err
    for text in ("Traceback", "Error:", "hydra.errors", "HYDRA_FULL_ERROR", "omegaconf", *row.says_not):
        assert text not in outcome.err or text in "".join(row.says), outcome.err
    lines = outcome.err.splitlines()
    assert lines and all(line.startswith("nnrun: ") for line in lines), outcome.err
    assert len(lines) == len(set(lines)), "said twice"
    assert outcome.out == ""
    assert outcome.created == [], "nothing may be left behind"


@pytest.mark.parametrize("name", TIER_ONE)
def test_a_wrong_config_is_explained_without_torch(name: str, tier_one: dict[str, Outcome]) -> None:
    assert_helps(TIER_ONE[name], tier_one[name])
    assert not tier_one[name].torch


@pytest.mark.parametrize("name", TIER_TWO)
def test_what_needs_torch_is_explained_before_data_is_read(name: str, tier_two: dict[str, Outcome]) -> None:
    if name == "fp16 without a GPU" and sys.platform == "darwin":
        pytest.skip("a Mac has a GPU")
    assert_helps(TIER_TWO[name], tier_two[name])


def test_several_mistakes_are_a_line_each(tier_one: dict[str, Outcome], tier_two: dict[str, Outcome]) -> None:
    assert len(tier_one["several"].err.splitlines()) == len(TIER_ONE["several"].says)
    assert len(tier_two["several"].err.splitlines()) == len(TIER_TWO["several"].says)


def test_right_configs_pass_what_the_wrong_ones_fail(tier_two: dict[str, Outcome]) -> None:
    """The negative control of both tables: torch is imported, and a directory made, where the config is right."""
    for name in ("zero epochs", "own"):
        outcome = tier_two[name]
        assert (outcome.code, outcome.err, outcome.torch) == (0, "", True)
        assert "outputs/latest" in outcome.created
    assert "trainer.epochs=0: the network is evaluated without training" in tier_two["zero epochs"].out


@pytest.mark.parametrize("name", ["trained", "loaded"])
def test_an_own_networks_parameters_are_not_judged_by_our_rules(name: str, tier_two: dict[str, Outcome]) -> None:
    """`dropout` of ours is a number from 0 to 1; of somebody's own class it may be a word, typed or in a checkpoint."""
    assert (tier_two[name].code, tier_two[name].err) == (0, "")


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    done = nnrun(["optimizer.lr=-1"], tmp_path, NNRUN_DEBUG="1")
    assert done.returncode == 2
    assert "Traceback (most recent call last)" in done.stderr
    assert "nnrun: optimizer.lr is -1" in done.stderr
