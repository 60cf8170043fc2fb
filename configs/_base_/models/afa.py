# AFA without its backbone (method: Ru et al., CVPR 2022).
_base_ = "./imagenet_colours.py"
num_classes = 21
model = dict(
    type="AFA",
    data_preprocessor=dict(size=(512, 512)),
    cls_head=dict(type="CAMHead", num_classes=num_classes, pooling="max"),
    decode_head=dict(
        type="LeanSegformerHead",  # mmseg's SegformerHead, same weights
        in_index=[0, 1, 2, 3],
        channels=256,
        dropout_ratio=0.1,
        num_classes=num_classes,
        norm_cfg=dict(type="BN", requires_grad=True),
        act_cfg=None,  # linear projections of the stages, as in SegFormer's MLP head
        align_corners=False,
        loss_decode=dict(type="BalancedCrossEntropyLoss", loss_weight=0.1),
    ),
    affinity_head=dict(
        type="AttentionAffinityHead",
        loss_aff=dict(type="AffinityLoss", loss_weight=0.1),
    ),
    refiner=dict(type="PAR", num_iters=10, dilations=(1, 2, 4, 8, 12, 24)),
    train_cfg=dict(
        cam_scales=(1.0, 0.5, 1.5),
        bkg_thr_high=0.55,
        bkg_thr_low=0.35,
        refine_scale=0.5,
        propagation="affinity",
        radius=8,
        power=2,
        aff_label="pseudo",
    ),
    test_cfg=dict(
        pseudo_labels=True,
        bkg_thr=0.45,
        # What tools/test.py does with --tta and --crf.
        tta=dict(scales=(0.5, 0.75, 1.0, 1.25, 1.5), flip=True, merge="max"),
        crf=dict(num_iters=10, pos_xy_std=3, pos_weight=3, bi_xy_std=64, bi_rgb_std=5, bi_weight=4),
    ),
)
