# AffinityNet's affinity network on VOC 2012 aug. Published (Ahn & Kwak, CVPR 2018): pseudo labels of 58.1
# mIoU on train, 59.7 with CRF; 61.0 with the released network. Not measured by us.
_base_ = [
    "../_base_/models/affinitynet_resnet38.py",
    "../_base_/datasets/voc12_aug.py",
    "../_base_/schedules/sgd_poly.py",
    "../_base_/default_runtime.py",
]
crop_size = (448, 448)
max_iters = 10582  # 8 epochs of 10,582 photos, 8 at a time
train_pipeline = [
    dict(type="LoadPhoto"),
    dict(type="LoadAnnotations"),
    dict(
        type="RandomChoiceResize",
        scales=[(side, side) for side in range(256, 513, 16)],
        keep_ratio=True,
    ),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PhotoMetricDistortion"),
    dict(type="RandomCropPad", crop_size=crop_size, pad_val=(103.53, 116.28, 123.675)),
    dict(type="PackWSSSInputs"),
]
test_pipeline = [
    dict(type="LoadPhoto"),
    dict(type="LoadAnnotations"),
    dict(type="PackWSSSInputs"),
]
# The labels that tools/affinity_labels.py has written; docs/pipelines.md says how to name them.
train_dataloader = dict(
    batch_size=2,
    dataset=dict(pipeline=train_pipeline, data_prefix=dict(seg_map_path="affinity_labels")),
)
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
# There is nothing to validate: its labels are measured after the random walk.
val_dataloader = None
val_cfg = None
val_evaluator = None
test_evaluator = [dict(type="WSSSIoUMetric", field="pred_sem_seg", prefix="seg")]
# The paper names no rate for this network: that of the classifier.
optim_wrapper = dict(optimizer=dict(lr=0.01, momentum=5e-4))
param_scheduler = [dict(type="PolyLR", power=0.9, by_epoch=False, begin=0, end=max_iters + 1)]
train_cfg = dict(max_iters=max_iters)
