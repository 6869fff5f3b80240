"""Small networks of Hugging Face's transformers with random weights, in folders as `save_pretrained` writes them."""

from pathlib import Path
from typing import Any

import torch

TOKENS = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32, "patch_size": 8}
NETWORKS: dict[str, dict[str, Any]] = {
    "vit": TOKENS,
    "deit": TOKENS,
    "beit": {**TOKENS, "num_hidden_layers": 4, "out_indices": [1, 2, 3, 4]},
    "dinov2": TOKENS,
    "swin": {"embed_dim": 8, "depths": [1, 1], "num_heads": [1, 2], "window_size": 4, "patch_size": 4},
    "convnext": {"hidden_sizes": [4, 8, 8, 8], "depths": [1, 1, 1, 1]},
    "resnet": {"embedding_size": 4, "hidden_sizes": [4, 8], "depths": [1, 1], "layer_type": "basic"},
    "levit": {
        **{"hidden_sizes": [8, 16, 16], "num_attention_heads": [1, 1, 1], "depths": [1, 1, 1], "key_dim": [4, 4, 4]},
        **{"attention_ratio": [2, 2, 2], "mlp_ratio": [2, 2, 2]},
    },
    "poolformer": {"hidden_sizes": [4, 8, 8, 8], "depths": [1, 1, 1, 1]},
    "segformer": {"hidden_sizes": [8] * 4, "depths": [1] * 4, "num_attention_heads": [1] * 4, "decoder_hidden_size": 8},
}
LABELS = ("cat", "dog", "owl")
MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)


def save_network(
    folder: Path, kind: str = "vit", size: int = 32, labels: tuple[str, ...] = LABELS, **facts: Any
) -> Any:
    """Write a network and its image processor, and return the network in eval mode."""
    import transformers

    torch.manual_seed(0)
    named = {"id2label": dict(enumerate(labels)), "label2id": {name: number for number, name in enumerate(labels)}}
    config = transformers.AutoConfig.for_model(kind, image_size=size, architectures=[], **NETWORKS[kind], **named)
    network = transformers.AutoModelForImageClassification.from_config(config)
    with torch.no_grad():
        for name, tensor in network.named_parameters():
            if tensor.ndim > 1 or "token" in name or "position" in name:
                tensor.normal_(0, 0.2)  # so that logits differ by more than rounding
    network.save_pretrained(folder)
    processor = {"do_rescale": True, "do_normalize": True, "image_mean": list(MEAN), "image_std": list(STD)} | facts
    transformers.ViTImageProcessor(**processor).save_pretrained(folder)
    return network.eval()
