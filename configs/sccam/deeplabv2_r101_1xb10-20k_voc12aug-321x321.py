# SC-CAM's segmentation network on VOC 2012 aug. Published (Chang et al., CVPR 2020): val 66.1, test 65.9, with
# CRF. Not measured by us. Schedule of DeepLab-v2 (Chen et al., TPAMI 2018).
_base_ = [
    "../_base_/models/deeplabv2_r101.py",
    "../_base_/datasets/voc12_aug.py",
    "../_base_/schedules/sgd_poly.py",
    "../_base_/default_runtime.py",
]
crop_size = (321, 321)
max_iters = 20000
train_pipeline = [
    dict(type="LoadPhoto"),
    dict(type="LoadAnnotations"),
    dict(type="RandomScale", ratio_range=(0.5, 1.5)),
    dict(type="RandomFlip", prob=0.5),
    dict(type="RandomCropPad", crop_size=crop_size, pad_val=(103.53, 116.28, 123.675)),
    dict(type="PackWSSSInputs"),
]
test_pipeline = [
    dict(type="LoadPhoto"),
    dict(type="LoadAnnotations"),
    dict(type="PackWSSSInputs"),
]
train_dataloader = dict(
    batch_size=10,
    dataset=dict(pipeline=train_pipeline, data_prefix=dict(seg_map_path="pseudo_labels")),
)
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
optim_wrapper = dict(optimizer=dict(lr=2.5e-4))
param_scheduler = [dict(type="PolyLR", power=0.9, by_epoch=False, begin=0, end=max_iters + 1)]
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
val_evaluator = [dict(type="WSSSIoUMetric", field="pred_sem_seg", prefix="seg")]
test_evaluator = val_evaluator
