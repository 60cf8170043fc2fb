# AffinityNet's classifier on voc12-mini, for a machine without GPU.
_base_ = [
    "../_base_/models/cam_lite0.py",
    "../_base_/datasets/voc12_mini_224.py",
    "../_base_/schedules/adamw_linear.py",
    "../_base_/default_runtime.py",
]
max_iters = 300
model = dict(data_preprocessor=dict(size=(224, 224)))
param_scheduler = [
    dict(type="LinearLR", start_factor=0.01, by_epoch=False, begin=0, end=20),
    dict(type="PolyLR", power=1.0, eta_min=0.0, by_epoch=False, begin=20, end=max_iters + 1),
]
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
default_hooks = dict(logger=dict(interval=20), checkpoint=dict(interval=100))
val_evaluator = [
    dict(type="MultiLabelMetric", prefix="cls"),
    dict(type="WSSSIoUMetric", field="pred_cam", prefix="cam", classes=_base_._frequent),
    dict(type="WSSSIoUMetric", field="pred_par", prefix="par", classes=_base_._frequent),
]
test_evaluator = val_evaluator
