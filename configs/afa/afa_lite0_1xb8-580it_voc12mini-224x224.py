# AFA on voc12-mini, for a machine without GPU.
_base_ = [
    "../_base_/models/afa_lite0.py",
    "../_base_/datasets/voc12_mini_224.py",
    "../_base_/schedules/adamw_linear.py",
    "../_base_/default_runtime.py",
]
max_iters = 580
model = dict(
    data_preprocessor=dict(size=(224, 224)),
    # From zero: too few iterations to turn the signs of drawn weights (docs/benchmarks/shapes.md).
    affinity_head=dict(init_cfg=dict(type="Constant", layer="Conv2d", val=0)),
    refiner=dict(dilations=(1, 2, 4, 8, 12)),  # half of the paper's crop: smaller steps
    train_cfg=dict(radius=4),
)
train_dataloader = dict(batch_size=8)
# The rate has fallen to a third when the segmentation begins.
optim_wrapper = dict(paramwise_cfg=dict(custom_keys={"decode_head": dict(lr_mult=20)}))
param_scheduler = [
    dict(type="LinearLR", start_factor=0.01, by_epoch=False, begin=0, end=20),
    dict(type="PolyLR", power=1.0, eta_min=0.0, by_epoch=False, begin=20, end=max_iters + 1),
]
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
default_hooks = dict(logger=dict(interval=20), checkpoint=dict(interval=100))
custom_hooks = [
    dict(type="PhaseHook", phases=dict(cls=0, pseudo=400, propagated=480)),
    dict(type="ReproducibleHook"),
    dict(type="WSSSVisualizationHook", interval=290),
]
val_evaluator = [
    dict(type="MultiLabelMetric", prefix="cls"),
    dict(type="WSSSIoUMetric", field="pred_cam", prefix="cam", classes=_base_._frequent),
    dict(type="WSSSIoUMetric", field="pred_par", prefix="par", classes=_base_._frequent),
    dict(
        type="WSSSIoUMetric",
        field="pred_propagated",
        prefix="propagated",
        classes=_base_._frequent,
    ),
    dict(type="WSSSIoUMetric", field="pred_sem_seg", prefix="seg", classes=_base_._frequent),
]
test_evaluator = val_evaluator
