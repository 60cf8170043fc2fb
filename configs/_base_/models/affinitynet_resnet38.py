# AffinityNet (Ahn & Kwak, CVPR 2018).
_base_ = "./imagenet_colours.py"
model = dict(
    type="AffinityNet",
    data_preprocessor=dict(size=(448, 448)),
    backbone=dict(
        type="ResNet38",
        out_indices=(2, 3, 5),
        init_cfg=dict(type="Pretrained", checkpoint="weights/resnet38_imagenet.params"),
    ),
    # channels: (128, 256, 512) in the paper, (64, 128, 256) in the program, whose checkpoints so
    # fit. distance: "sum" in the paper, "mean" in the program; the sum of hundreds of channels
    # makes nearly every affinity 0 at the start.
    affinity_head=dict(
        type="FeatureAffinityHead",
        channels=(64, 128, 256),
        in_index=(0, 1, 2),
        radius=5,
        distance="mean",
        loss_aff=dict(type="PairAffinityLoss"),
    ),
    beta=8.0,
    num_steps=256,
)
