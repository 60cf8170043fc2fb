# AffinityNet's classifier on VOC 2012 aug, on EfficientNet-lite0: the small recipe at full size, for a GPU. Not
# measured by us.
_base_ = [
    "../_base_/models/cam_lite0.py",
    "../_base_/datasets/voc12_aug.py",
    "../_base_/schedules/adamw_linear.py",
    "../_base_/default_runtime.py",
]
crop_size = (448, 448)
max_iters = 9920  # 15 epochs of 10,582 photos, 16 at a time
train_pipeline = [
    dict(type="LoadPhoto"),
    dict(type="RandomScale", ratio_range=(0.5, 1.5)),
    dict(type="RandomFlip", prob=0.5),
    dict(type="RandomCropPad", crop_size=crop_size),
    dict(type="PackWSSSInputs"),
]
model = dict(
    data_preprocessor=dict(size=crop_size),
    backbone=dict(frozen_stages=1),  # the stem; the small recipes freeze more
)
train_dataloader = dict(batch_size=16, dataset=dict(pipeline=train_pipeline))
param_scheduler = [
    dict(type="LinearLR", start_factor=0.01, by_epoch=False, begin=0, end=500),
    dict(type="PolyLR", power=1.0, eta_min=0.0, by_epoch=False, begin=500, end=max_iters + 1),
]
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
val_evaluator = [
    dict(type="MultiLabelMetric", prefix="cls"),
    dict(type="WSSSIoUMetric", field="pred_cam", prefix="cam"),
    dict(type="WSSSIoUMetric", field="pred_par", prefix="par"),
]
test_evaluator = val_evaluator
