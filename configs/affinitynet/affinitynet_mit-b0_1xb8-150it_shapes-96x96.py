# AffinityNet's affinity network on Shapes. In the place of ImageNet weights, which there are none of here, it
# begins with the backbone of the classifier. Pictures are doubled: the grid of the random walk is then 24 x 24
# and not 12 x 12, on which pairs of radius 5 and 256 steps, made for VOC's 47 x 63, reach everything.
_base_ = [
    "../_base_/models/imagenet_colours.py",
    "../_base_/datasets/shapes.py",
    "../_base_/schedules/afa_shapes.py",
    "../_base_/default_runtime.py",
]
crop_size = (96, 96)
max_iters = 150
train_pipeline = [
    dict(type="LoadPhoto"),
    dict(type="LoadAnnotations"),
    dict(type="Resize", scale=crop_size, keep_ratio=False),
    dict(type="RandomScale", ratio_range=(1.6, 2.4)),
    dict(type="RandomFlip", prob=0.5),
    dict(type="RandomCropPad", crop_size=crop_size),
    dict(type="PackWSSSInputs"),
]
test_pipeline = [
    dict(type="LoadPhoto"),
    dict(type="Resize", scale=(192, 192), keep_ratio=False),
    dict(type="LoadAnnotations"),
    dict(type="PackWSSSInputs"),
]
model = dict(
    type="AffinityNet",
    data_preprocessor=dict(size=crop_size),
    backbone=dict(
        type="MiTAttn",
        arch="b0",
        strides=(4, 2, 1, 1),
        drop_path_rate=0.0,
        init_cfg=dict(type="Pretrained", checkpoint="weights/shapes_classifier.pth"),
    ),
    affinity_head=dict(
        type="FeatureAffinityHead",
        channels=(64, 128, 256),
        in_index=(1, 2, 3),
        radius=5,
        distance="mean",
        loss_aff=dict(type="PairAffinityLoss"),
    ),
    beta=8.0,
    num_steps=256,
)
# The labels that tools/affinity_labels.py has written; docs/pipelines.md says how to name them.
train_dataloader = dict(
    dataset=dict(pipeline=train_pipeline, data_prefix=dict(seg_map_path="affinity_labels"))
)
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
# There is nothing to validate: its labels are measured after the random walk.
val_dataloader = None
val_cfg = None
val_evaluator = None
test_evaluator = [dict(type="WSSSIoUMetric", field="pred_sem_seg", prefix="seg")]
optim_wrapper = dict(
    optimizer=dict(lr=2e-4), paramwise_cfg=dict(custom_keys={"affinity_head": dict(lr_mult=10)})
)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.1, by_epoch=False, begin=0, end=10),
    dict(type="PolyLR", eta_min=0.0, by_epoch=False, begin=10, end=max_iters + 1),
]
train_cfg = dict(max_iters=max_iters)
default_hooks = dict(checkpoint=dict(interval=75, save_best=None))
custom_hooks = [dict(type="ReproducibleHook")]
