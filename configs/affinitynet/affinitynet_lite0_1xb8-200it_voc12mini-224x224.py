# AffinityNet's affinity network on voc12-mini, for a machine without GPU.
_base_ = [
    "../_base_/models/affinitynet_lite0.py",
    "../_base_/datasets/voc12_mini_224.py",
    "../_base_/schedules/adamw_linear.py",
    "../_base_/default_runtime.py",
]
train_pipeline = _base_._photos_and_masks
max_iters = 200
model = dict(data_preprocessor=dict(size=(224, 224)))
# The labels that tools/affinity_labels.py has written; docs/pipelines.md says how to name them.
train_dataloader = dict(
    batch_size=8,
    dataset=dict(pipeline=train_pipeline, data_prefix=dict(seg_map_path="affinity_labels")),
)
# There is nothing to validate: its labels are measured after the random walk.
val_dataloader = None
val_cfg = None
val_evaluator = None
test_evaluator = [
    dict(type="WSSSIoUMetric", field="pred_sem_seg", prefix="seg", classes=_base_._frequent)
]
param_scheduler = [
    dict(type="LinearLR", start_factor=0.01, by_epoch=False, begin=0, end=20),
    dict(type="PolyLR", power=1.0, eta_min=0.0, by_epoch=False, begin=20, end=max_iters + 1),
]
train_cfg = dict(max_iters=max_iters)
default_hooks = dict(logger=dict(interval=20), checkpoint=dict(interval=100))
