# AffinityNet's other segmentation network on VOC 2012 aug, DeepLab-LargeFOV. Published (Ahn & Kwak, CVPR 2018):
# val 58.4, test 60.5, with CRF. Not measured by us. Rate and batch of Chen et al., ICLR 2015, whose rate falls
# in steps; here polynomially, as in DeepLab-v2.
_base_ = [
    "../_base_/models/deeplab-largefov_vgg16.py",
    "../_base_/datasets/voc12_aug.py",
    "../_base_/schedules/sgd_poly.py",
    "../_base_/default_runtime.py",
]
crop_size = (321, 321)
max_iters = 6000
train_pipeline = [
    dict(type="LoadPhoto"),
    dict(type="LoadAnnotations"),
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
    batch_size=20,
    dataset=dict(pipeline=train_pipeline, data_prefix=dict(seg_map_path="pseudo_labels")),
)
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
optim_wrapper = dict(optimizer=dict(lr=1e-3))
param_scheduler = [dict(type="PolyLR", power=0.9, by_epoch=False, begin=0, end=max_iters + 1)]
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
val_evaluator = [dict(type="WSSSIoUMetric", field="pred_sem_seg", prefix="seg")]
test_evaluator = val_evaluator
