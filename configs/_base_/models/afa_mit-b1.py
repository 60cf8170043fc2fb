# AFA on a Mix Transformer B1 (method: Ru et al., CVPR 2022).
_base_ = "./afa.py"
model = dict(
    backbone=dict(
        type="MiTAttn",
        arch="b1",
        strides=(4, 2, 2, 1),
        drop_path_rate=0.1,
        init_cfg=dict(type="Pretrained", checkpoint="weights/mit_b1.pth"),
    ),
)
