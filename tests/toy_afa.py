"""A small AFA on made-up images: a step takes some hundredths of a second on CPU."""

import sys

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import nn

import afa.models  # noqa: F401  registers what is built

NUM_CLASSES = 4
PHASES = ("cls", "pseudo", "propagated")


def afa_cfg(**changes):
    """Return the config of a small AFA; changes are dotted keys with '__' for the dot."""
    cfg = Config(
        dict(
            type="AFA",
            data_preprocessor=dict(
                type="SegDataPreProcessor",
                mean=[123.675, 116.28, 103.53],
                std=[58.395, 57.12, 57.375],
                bgr_to_rgb=True,
            ),
            backbone=dict(type="MiTAttn", arch="b0", drop_path_rate=0.0),
            cls_head=dict(type="CAMHead", in_channels=256, num_classes=NUM_CLASSES),
            decode_head=dict(
                type="SegformerHead",
                in_channels=[32, 64, 160, 256],
                in_index=[0, 1, 2, 3],
                channels=16,
                dropout_ratio=0.0,
                num_classes=NUM_CLASSES,
                norm_cfg=dict(type="BN", requires_grad=True),
                act_cfg=None,
                align_corners=False,
                loss_decode=dict(type="BalancedCrossEntropyLoss", loss_weight=0.1),
            ),
            affinity_head=dict(
                type="AttentionAffinityHead",
                in_channels=16,
                loss_aff=dict(type="AffinityLoss", loss_weight=0.1),
            ),
            refiner=dict(type="PAR", num_iters=2, dilations=(1, 2)),
            train_cfg=dict(radius=2),
        )
    )
    cfg.merge_from_dict({key.replace("__", "."): value for key, value in changes.items()})
    return cfg.to_dict()


def make_afa(**changes):
    """Build a small AFA with drawn weights."""
    init_default_scope("mmseg")
    torch.manual_seed(0)
    model = MODELS.build(afa_cfg(**changes))
    model.init_weights()
    return model


def make_inputs(batch=2, height=32, width=32, seed=0):
    """Draw images (B, 3, H, W): a bright, coloured rectangle on noise, one per image."""
    generator = torch.Generator().manual_seed(seed)
    images = 0.3 * torch.randn(batch, 3, height, width, generator=generator)
    colours = 2 * torch.randn(batch, 3, 1, 1, generator=generator)
    images[..., height // 4 : height * 3 // 4, width // 4 : width * 2 // 3] += colours
    return images


def make_samples(labels, boxes=None, **metainfo):
    """Make data samples from rows of image labels (K,)."""
    samples = []
    for i, label in enumerate(labels):
        sample = SegDataSample(metainfo=dict(metainfo))
        sample.set_data(dict(gt_label=torch.as_tensor(label, dtype=torch.float32)))
        if boxes is not None:
            sample.set_metainfo(dict(img_box=boxes[i]))
        samples.append(sample)
    return samples


def total(losses):
    """Sum losses as mmengine does."""
    return sum(value for key, value in losses.items() if "loss" in key)


def gradients(model):
    """Return the gradients that a backward pass has left, by parameter name."""
    return {
        name: parameter.grad.clone()
        for name, parameter in model.named_parameters()
        if parameter.grad is not None
    }


def batch_norms(model):
    """List the batch norms of a model."""
    return [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]


if __name__ == "__main__":
    sys.exit("toy_afa is imported by the tests.")
