"""Small models of Hugging Face in folders, as their users have them, and a data set on disk."""

from __future__ import annotations

import json
from pathlib import Path

from support.texts import BAD, GOOD, OTHER

SIDE = 8


def make_bert(folder: Path, *, longest: int = 48) -> None:
    """Write a BERT without a head for the words of `support.texts`, with its tokenizer and a model card."""
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertModel

    words = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", *GOOD, *BAD, *OTHER]
    tokenizer = Tokenizer(models.WordPiece({word: place for place, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 2), ("[CLS]", 1))
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    BertModel(BertConfig(vocab_size=len(words), max_position_embeddings=longest, **sizes)).save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\n# A tiny BERT\n")


def _words() -> list[str]:
    return [*GOOD, *BAD, *OTHER]


def make_text_model(folder: Path, kind: str, *, longest: int = 48) -> None:
    """Write a small network of a kind without a head, with a tokenizer whose padding is as usual for the kind."""
    import torch
    import transformers
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    first = ["<s>", "<pad>", "</s>", "<unk>"] if kind == "Roberta" else ["[PAD]", "[CLS]", "[SEP]", "[UNK]"]
    words = [*first, *_words()]
    tokenizer = Tokenizer(models.WordLevel({word: place for place, word in enumerate(words)}, unk_token=first[3]))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    start, end = (("<s>", 0), ("</s>", 2)) if kind == "Roberta" else (("[CLS]", 1), ("[SEP]", 2))
    make = processors.RobertaProcessing if kind == "Roberta" else processors.BertProcessing
    tokenizer.post_processor = make(end, start)
    tokenizer.add_special_tokens(first)
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    if kind == "DistilBert":
        sizes = {"dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 32}
    positions = longest + (2 if kind == "Roberta" else 0)
    config = getattr(transformers, f"{kind}Config")(vocab_size=len(words), max_position_embeddings=positions, **sizes)
    getattr(transformers, f"{kind}Model")(config).save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))


# Sizes of networks for images of 32x32, by the start of their classes' names.
IMAGE_MODELS = {
    "ResNet": {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic"},
    "ConvNext": {"hidden_sizes": [8, 16], "depths": [1, 1], "num_stages": 2, "patch_size": 4},
    "Swin": {
        "image_size": 32,
        "patch_size": 4,
        "embed_dim": 8,
        "depths": [1, 1],
        "num_heads": [2, 2],
        "window_size": 4,
    },
    "ViT": {
        "image_size": 32,
        "patch_size": 8,
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 32,
    },
}


def make_image_model(folder: Path, kind: str) -> None:
    """Write a small network of a kind without a head, with an image processor for 32x32."""
    import torch
    import transformers

    torch.manual_seed(0)
    config = getattr(transformers, f"{kind}Config")(**IMAGE_MODELS[kind])
    getattr(transformers, f"{kind}Model")(config).save_pretrained(folder)
    processor = {"size": {"height": 32, "width": 32}, "image_mean": [0.5] * 3, "image_std": [0.5] * 3, "resample": 2}
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))


def make_vit(folder: Path, classes: tuple[str, ...] = ("ant", "bee", "fly")) -> None:
    """Write a ViT for images of 8x8, with a head for `classes` and an image processor."""
    import torch
    from transformers import ViTConfig, ViTForImageClassification

    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    names = {"id2label": dict(enumerate(classes)), "label2id": {name: place for place, name in enumerate(classes)}}
    ViTForImageClassification(ViTConfig(image_size=SIDE, patch_size=4, **sizes, **names)).save_pretrained(folder)
    processor = {
        "image_processor_type": "ViTImageProcessor",
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        "rescale_factor": 1 / 255,
        "image_mean": [0.5, 0.4, 0.3],
        "image_std": [0.2, 0.25, 0.5],
        "resample": 3,
        "size": {"height": SIDE, "width": SIDE},
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
