# Classifier of AffinityNet (Ahn & Kwak, CVPR 2018) and SC-CAM (Chang et al., CVPR 2020).
_base_ = "./imagenet_colours.py"
num_classes = 21
model = dict(
    type="CAMClassifier",
    data_preprocessor=dict(size=(448, 448)),
    backbone=dict(
        type="ResNet38",
        out_indices=(5,),
        init_cfg=dict(type="Pretrained", checkpoint="weights/resnet38_imagenet.params"),
    ),
    # hidden_channels: 512 in AffinityNet's paper, none in its program, whose checkpoints so fit.
    cls_head=dict(
        type="CAMHead",
        num_classes=num_classes,
        pooling="avg",
        dropout_ratio=0.5,
        hidden_channels=None,
        init_cfg=dict(type="Xavier", layer="Conv2d", distribution="uniform"),
    ),
    cam_scales=(1.0, 0.5, 1.5, 2.0),
    cam_mirror="sum",
    cam_subtract_min=False,
    test_cfg=dict(pseudo_labels=True, bkg_thr=0.28),
)
