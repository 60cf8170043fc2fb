# AffinityNet's classifier on Shapes, from scratch, by the recipe of AFA's classification phase there.
_base_ = [
    "../_base_/models/imagenet_colours.py",
    "../_base_/datasets/shapes.py",
    "../_base_/schedules/afa_shapes.py",
    "../_base_/default_runtime.py",
]
num_classes = 7
crop_size = (96, 96)
max_iters = 380
model = dict(
    type="CAMClassifier",
    data_preprocessor=dict(size=crop_size),
    backbone=dict(type="MiTAttn", arch="b0", strides=(4, 2, 1, 1), drop_path_rate=0.0),
    cls_head=dict(
        type="CAMHead",
        pooling="map",
        num_classes=num_classes,
        bias=True,
        init_cfg=dict(type="Normal", layer="Conv2d", std=0.01, bias=-3.0),
    ),
    # Scales, mirror and normalisation of AFA, so that its CAMs are those of this network.
    cam_scales=(1.0, 0.5, 1.5),
    cam_mirror="max",
    cam_subtract_min=True,
    test_cfg=dict(pseudo_labels=True, bkg_thr=0.35),
)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.01, by_epoch=False, begin=0, end=50),
    dict(
        type="LinearLR",
        start_factor=1.0,
        end_factor=0.4,
        by_epoch=False,
        begin=50,
        end=max_iters + 1,
    ),
]
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
default_hooks = dict(checkpoint=dict(interval=190, save_best=None))
val_evaluator = [
    dict(type="MultiLabelMetric", prefix="cls"),
    dict(type="WSSSIoUMetric", field="pred_cam", prefix="cam"),
]
test_evaluator = val_evaluator
custom_hooks = [dict(type="ReproducibleHook")]
