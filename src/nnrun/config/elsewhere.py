"""The names of our settings and options elsewhere: in PyTorch, Lightning, Keras, Ultralytics, timm, fastai, and Hugging
Face's Trainer.

Such a name is answered with ours (`meant.py`). The names on the left must exist: a test checks these tables against
conf/.
"""

from __future__ import annotations

# Settings by full key, groups, and words that choose an option; names in lower case, `-` written as `_`. A name may
# be in several rows; a name that one of our settings has too need not be here.
SETTINGS: dict[str, str] = {
    # the length of a run
    "trainer.epochs": "epoch n_epoch n_epochs num_epochs nepochs max_epochs num_train_epochs total_epochs",
    "trainer.max_steps": "iters iterations max_iters num_steps max_train_steps steps_per_epoch",
    "trainer.max_minutes": "max_time max_hours max_seconds time_limit time_budget max_duration timeout",
    "trainer=debug": "fast_dev_run smoke_test debug",
    # sweeps
    "sweep.trials": "n_trials num_trials max_trials ntrials",
    "sweep.prune": "pruner pruning",
    "launch.minutes": "timeout_min walltime",
    # device and precision
    "trainer.device": "accelerator gpu gpus cuda use_cuda no_cuda use_cpu use_gpu",
    "trainer.devices": "num_gpus num_devices num_processes nproc_per_node world_size",
    "trainer.strategy": "fsdp use_fsdp distributed_strategy sharding_strategy parallel_strategy",
    "trainer.sync_batchnorm": "sync_bn syncbn use_sync_bn",
    "trainer.precision": "amp amp_dtype fp16 bf16 half mixed_precision use_amp to_fp16 native_amp dtype autocast",
    "trainer.compile": "torch_compile torchcompile jit_compile compile_model",
    "trainer.recompute": "gradient_checkpointing activation_checkpointing grad_checkpointing use_checkpoint "
    "checkpoint_activations",
    "trainer.deterministic": "full_determinism cudnn_deterministic",
    # the update
    "trainer.accumulate": "accumulate_grad_batches gradient_accumulation_steps grad_accum_steps grad_accum "
    "accumulation_steps n_acc nbs",
    "trainer.grad_clip_norm": "gradient_clip_val gradient_clip max_grad_norm clip_grad clip_grad_norm grad_clip "
    "clipnorm global_clipnorm clip_norm max_norm clip",
    "trainer.ema_decay": "ema model_ema model_ema_decay use_ema ema_momentum swa",
    # validation, checkpoints, logs
    "trainer.validate_every_steps": "val_check_interval check_val_every_n_epoch eval_steps eval_interval "
    "validation_freq val_interval evaluation_strategy eval_strategy",
    "trainer.checkpoint_every_steps": "every_n_train_steps save_steps save_period save_freq save_interval save_every "
    "checkpoint_interval save_strategy",
    "trainer.keep_last": "save_top_k save_total_limit checkpoint_hist max_to_keep",
    "trainer.log_every_steps": "log_every_n_steps log_interval logging_steps log_every log_freq print_freq",
    "trainer.progress": "enable_progress_bar progress_bar disable_tqdm verbose",
    # data
    "data.batch_size": "batch bs batchsize train_batch_size per_device_train_batch_size batch_size_per_gpu",
    "data.eval_batch_size": "val_batch_size valid_batch_size validation_batch_size test_batch_size "
    "per_device_eval_batch_size",
    "data.num_workers": "workers dataloader_num_workers n_workers num_worker",
    "data.val_fraction": "validation_split valid_pct val_split valid_size val_size validation_fraction val_pct "
    "val_ratio val_percent",
    "data.split_seed": "data_seed",
    "data.limit": "limit_train_batches limit_val_batches limit_test_batches max_train_samples max_samples "
    "fraction subset",
    "data.residency": "pin_memory pin_mem persistent_workers cache_images prefetch_factor in_memory",
    "data.root": "data_dir data_path dataroot dataset_dir dataset_path train_dir root_dir folder path",
    "data.image_size": "imgsz img_size input_size size image_shape resolution input_shape target_size",
    "data.channels": "in_chans in_channels num_channels color_mode",
    "data.num_classes": "n_classes nc num_labels classes_count",
    "data.in_shape": "input_dim in_features",
    "data": "dataset dataset_name train_data datamodule dls",
    # the network, and weights to start from
    "model": "net network arch architecture backbone encoder",
    "model.dropout": "drop_rate dropout_rate dropout_prob ps hidden_dropout_prob attention_dropout",
    "model.hidden": "units hidden_size hidden_dim hidden_units hidden_sizes hidden_layers",
    "model.channels": "num_filters",
    "model.depth": "num_layers n_layers layers",
    "transfer.weights": "pretrained weights_path model_weights imagenet",
    "transfer.freeze": "freeze_backbone frozen fine_tune freeze_layers feature_extract",
    "transfer.unfreeze_epoch": "unfreeze freeze_epochs unfreeze_at",
    "init_from": "initial_checkpoint model_name_or_path load_from finetune_from load_weights",
    "ckpt": "checkpoint ckpt_path checkpoint_path eval_checkpoint load load_model",
    "resume": "resume_from_checkpoint resume_from resume_training continue_from auto_resume",
    # optimizer and schedule
    "optimizer": "optim opt opt_func solver optimizer_name",
    "optimizer.lr": "learning_rate learningrate lr0 lr_max init_lr base_lr initial_lr eta lr_init max_learning_rate",
    "optimizer.weight_decay": "wd decay l2 l2_reg lambda regularization",
    "optimizer.betas": "beta beta1 beta2 beta_1 beta_2 adam_beta1 adam_beta2 opt_betas",
    "optimizer.eps": "epsilon adam_epsilon opt_eps",
    "optimizer.alpha": "rho",
    "scheduler": "lr_scheduler sched lr_scheduler_type lr_schedule schedule learning_rate_schedule lr_policy",
    "scheduler=cosine": "cos_lr use_cosine",
    "scheduler=onecycle": "fit_one_cycle one_cycle",
    "scheduler.warmup_fraction": "warmup warmup_ratio warmup_steps warmup_epochs num_warmup_steps",
    "scheduler.min_lr": "lrf eta_min lr_min",
    "scheduler.gamma": "decay_rate lr_gamma lr_decay_rate lr_decay_factor",
    "scheduler.step_size": "decay_epochs lr_step_size step_epochs lr_decay_epochs",
    "scheduler.milestones": "decay_milestones lr_steps lr_milestones",
    "scheduler.patience": "patience_epochs lr_patience",
    # when it stops, and which weights it keeps
    "early_stopping.patience": "early_stopping_patience early_stop_patience stop_patience",
    "early_stopping.min_delta": "early_stopping_threshold early_stopping_min_delta",
    "early_stopping.monitor": "metric_for_best_model eval_metric monitor_metric best_metric",
    "early_stopping.mode": "greater_is_better monitor_mode",
    # loss and metrics
    "loss": "criterion loss_fn loss_func loss_function objective",
    "loss.label_smoothing": "smoothing label_smoothing_factor smooth",
    "loss.weight": "class_weight class_weights cls_weights weights_per_class",
    "loss.pos_weight": "pos_weights positive_weight",
    "metric": "metrics compute_metrics",
    # augmentation
    "augment": "augmentation augmentations aug augs transforms transform train_transform batch_tfms item_tfms tfms",
    "augment.crop_flip.flip": "fliplr hflip horizontal_flip flip_lr",
    "augment.crop_flip.padding": "random_crop crop_padding",
    "augment.digits.degrees": "rotation rotation_range max_rotate",
    "augment.digits.shift": "translate width_shift_range height_shift_range",
    "augment.color": "color_jitter colorjitter jitter",
    "augment.color.hue": "hsv_h",
    "augment.color.saturation": "hsv_s",
    "augment.color.brightness": "hsv_v brightness_range",
    "augment.erasing.probability": "reprob random_erasing random_erase",
    "augment.trivialaugment": "auto_augment autoaugment randaugment aa rand_augment",
    "augment.mixup.alpha": "mixup_alpha mixup_prob",
    "augment.cutmix.alpha": "cutmix_alpha cutmix_prob",
    # output
    "export": "export_format save_format exporter",
    "logger": "report_to loggers tracker log_with",
    "callback": "callbacks cbs",
    "input": "source predict_dir images input_path test_file",
    "seed": "random_state random_seed manual_seed rng_seed seed_everything",
    "hydra.run.dir": "output_dir default_root_dir save_dir log_dir logdir out_dir run_dir workdir outdir",
}

# Options by the words that choose them; names in lower case, without `_` and `-`.
OPTIONS: dict[str, str] = {
    "optimizer=muon": "muonwithadamw",
    "optimizer=sgd": "momentum nesterov",
    "scheduler=cosine": "cosineannealing cosineannealinglr cosinedecay cos cosinelr",
    "scheduler=warmup_cosine": "cosinewithwarmup linearwarmupcosineannealing cosinewarmup",
    "scheduler=onecycle": "onecyclelr 1cycle fitonecycle",
    "scheduler=plateau": "reducelronplateau reduceonplateau",
    "scheduler=step": "steplr",
    "scheduler=multistep": "multisteplr piecewiseconstant",
    "scheduler=exponential": "exponentiallr exponentialdecay",
    "scheduler=none": "constant constantlr",
    "loss=cross_entropy": "crossentropyloss ce nll nllloss categoricalcrossentropy softmax "
    "sparsecategoricalcrossentropy softtargetcrossentropy labelsmoothingcrossentropy",
    "loss=focal": "focalloss categoricalfocalcrossentropy",
    "loss=bce": "bceloss bcewithlogits bcewithlogitsloss binarycrossentropy multilabelsoftmarginloss",
    "loss=mse": "mseloss l2 l2loss meansquarederror squarederror",
    "loss=mae": "l1 l1loss meanabsoluteerror absoluteerror",
    "loss=huber": "huberloss smoothl1 smoothl1loss",
    "data=folder": "imagefolder imagedatasetfromdirectory images directory imagenet",
    "data=arrays": "npz npy numpy tensordataset",
    "data=torchvision data.dataset.name=SVHN": "svhn",
    "data=torchvision data.dataset.name=EMNIST": "emnist",
    "data=torchvision data.dataset.name=Flowers102": "flowers flowers102",
    "data=torchvision data.dataset.name=Food101": "food food101",
    "data=torchvision data.dataset.name=STL10": "stl10",
    "augment=trivialaugment": "randaugment autoaugment trivialaugmentwide augmix",
    "augment=erasing": "randomerasing cutout randomerase",
    "augment=color": "colorjitter randombrightnesscontrast",
    "augment=crop_flip": "randomcrop randomhorizontalflip flip hflip crop randomflip",
    "augment=digits": "randomaffine affine randomrotation rotate",
    "export=torchscript": "jit script pt torchjit",
    "export=pt2": "exportedprogram torchexport export aoti",
    "export=onnx_int8": "int8 quantized onnxquantized",
    "export=torchserve": "mar",
    "problem=classification": "multiclass binary imageclassification",
    "problem=multilabel": "multilabelclassification labels tagging",
    "problem=regression": "values regressor",
    "early_stopping=default": "true",
    "early_stopping=none": "false",
    "model=mlp": "dense fc feedforward",
    "model=cnn": "lenet lenet5 simplecnn convnet",
}

# Advice on names that mean none of our options, by group; names as in OPTIONS, `yolo*` for all that begin so.
ADVICE: dict[str, dict[str, str]] = {
    "model": {
        "object detection is not a task of nnrun, which classifies samples and predicts labels or values": "yolo* "
        "fasterrcnn* maskrcnn* keypointrcnn* retinanet* fcos* ssd* detr* rtdetr* detectron*",
        "segmentation is not a task of nnrun, which classifies samples and predicts labels or values": "unet* deeplab* "
        "fcn* lraspp* segformer* mask2former* sam sam2* pspnet*",
        "the networks for texts are bag, textcnn, gru, lstm and transformer (docs/texts.md)": "bert* roberta* "
        "distilbert* gpt* llama* t5* transformer* rnn",
    },
    "augment": {
        "name one, such as augment=crop_flip for photographs or augment=digits for digits, or several: "
        "augment=[crop_flip,color]": "true yes on 1 auto default all",
    },
    "transfer": {"pretrained weights are chosen with transfer.weights=default": "true yes on 1 imagenet pretrained"},
    "metric": {
        "the metrics of the problem are always measured; early_stopping.monitor= chooses the one that decides": ""
        "accuracy acc f1 precision recall top5 loss rmse mae r2",
    },
    "callback": {
        "checkpoints, early stopping and logs need no callback; docs/extending.md shows a custom one": "checkpoint "
        "modelcheckpoint earlystopping lrmonitor learningratemonitor richprogressbar tqdmprogressbar",
    },
    "logger": {
        "nnrun ships no other logger; docs/extending.md shows a custom one": "comet neptune aim clearml",
    },
}

# Networks of torchvision that `model=torchvision` builds, by family; and of timm, by the first letters of their names.
_TORCHVISION: dict[str, str] = {
    "": "alexnet googlenet inception_v3 maxvit_t mobilenet_v2 mobilenet_v3_large mobilenet_v3_small",
    "convnext_": "tiny small base large",
    "densenet": "121 161 169 201",
    "efficientnet_": "b0 b1 b2 b3 b4 b5 b6 b7 v2_l v2_m v2_s",
    "mnasnet": "0_5 0_75 1_0 1_3",
    "regnet_x_": "16gf 1_6gf 32gf 3_2gf 400mf 800mf 8gf",
    "regnet_y_": "128gf 16gf 1_6gf 32gf 3_2gf 400mf 800mf 8gf",
    "resnet": "34 50 101 152",
    "resnext": "50_32x4d 101_32x8d 101_64x4d",
    "shufflenet_v2_": "x0_5 x1_0 x1_5 x2_0",
    "squeezenet": "1_0 1_1",
    "swin_": "t s b v2_t v2_s v2_b",
    "vgg": "11 11_bn 13 13_bn 16 16_bn 19 19_bn",
    "vit_": "b_16 b_32 h_14 l_16 l_32",
    "wide_resnet": "50_2 101_2",
}
TORCHVISION = tuple(f"{family}{name}" for family, names in _TORCHVISION.items() for name in names.split())
_TIMM = (
    "beit botnet cait caformer coat convformer convmixer convnextv2 crossvit darknet davit deit dla dm_nfnet dpn "
    "ecaresnet edgenext efficientformer efficientnetv2 efficientvit eva02 fastvit focalnet gcvit ghostnet gmixer "
    "gmlp hgnet hiera hrnet inception_next inception_resnet lcnet levit mambaout maxxvit mixer_ mixnet "
    "mobilenetv2 mobilenetv3 mobilenetv4 mobilevit mvitv2 nextvit nfnet pit_ poolformer pvt_ regnetv regnetx "
    "regnety regnetz repvgg repvit res2net resmlp resnest resnetrs resnetv2 rexnet samvit senet seresnet "
    "seresnext skresnet swinv2 tf_ tiny_vit tinynet tresnet twins visformer volo vovnet xception xcit"
)
TIMM = tuple(_TIMM.split())

# Values of settings that other frameworks write differently.
VALUES: dict[str, dict[str, str]] = {
    "trainer.precision": {
        "fp16": "16 16-mixed float16 half fp16-mixed mixed_float16 16-true",
        "bf16": "bfloat16 bf16-mixed bf16-true mixed_bfloat16",
        "fp32": "32 32-true float32 full float no",
    },
    "trainer.device": {"cuda": "gpu cuda-gpu nvidia", "cuda:0": "0", "mps": "metal apple"},
    "early_stopping.monitor": {
        "valid/loss": "val_loss val/loss loss validation_loss eval_loss valid_loss",
        "valid/accuracy": "val_acc val_accuracy val/acc val/accuracy acc accuracy eval_accuracy valid_acc "
        "metrics/accuracy_top1",
    },
    "early_stopping.mode": {"max": "maximize higher", "min": "minimize lower"},
    "data.residency": {"device": "gpu cuda ram_gpu", "memory": "ram cpu host", "stream": "disk lazy"},
    "data.on_bad": {"skip": "ignore drop"},
    "transfer.weights": {"default": "imagenet true"},
}
