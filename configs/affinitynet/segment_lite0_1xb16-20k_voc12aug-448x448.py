# Segmentation network of the multi-stage methods on VOC 2012 aug, on EfficientNet-lite0, for a GPU. Not measured by us.
_base_ = [
    "../_base_/models/segment_lite0.py",
    "../_base_/datasets/voc12_aug.py",
    "../_base_/schedules/adamw_linear.py",
    "../_base_/default_runtime.py",
]
crop_size = (448, 448)
max_iters = 20000
train_pipeline = [
    dict(type="LoadPhoto"),
    dict(type="LoadAnnotations"),
    dict(type="RandomScale", ratio_range=(0.5, 1.5)),
    dict(type="RandomFlip", prob=0.5),
    dict(type="RandomCropPad", crop_size=crop_size),
    dict(type="PackWSSSInputs"),
]
model = dict(
    data_preprocessor=dict(size=crop_size),
    backbone=dict(frozen_stages=1),  # the stem; the small recipes freeze more
)
# The labels that tools/random_walk.py has written; docs/pipelines.md says how to name them.
train_dataloader = dict(
    batch_size=16,
    dataset=dict(pipeline=train_pipeline, data_prefix=dict(seg_map_path="pseudo_labels")),
)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.01, by_epoch=False, begin=0, end=500),
    dict(type="PolyLR", power=1.0, eta_min=0.0, by_epoch=False, begin=500, end=max_iters + 1),
]
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
val_evaluator = [dict(type="WSSSIoUMetric", field="pred_sem_seg", prefix="seg")]
test_evaluator = val_evaluator
