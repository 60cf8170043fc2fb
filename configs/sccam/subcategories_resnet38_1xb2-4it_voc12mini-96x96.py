# One round of SC-CAM on voc12-mini, for trying without GPU: the real network with drawn weights, a small crop, few
# iterations, four photos to validate. Its figures mean nothing.
_base_ = "./subcategories_resnet38_4xb4-40k_voc12aug-224x224.py"
data_root = "data/voc12-mini"
crop_size = (96, 96)
max_iters = 4
train_pipeline = [
    dict(type="LoadPhoto"),
    dict(type="RandomScale", ratio_range=(0.3, 0.5)),
    dict(type="RandomFlip", prob=0.5),
    dict(type="RandomCropPad", crop_size=crop_size, pad_val=(103.53, 116.28, 123.675)),
    dict(type="PackWSSSInputs"),
]
test_pipeline = [
    dict(type="LoadPhoto"),
    dict(type="Resize", scale=(96, 96), keep_ratio=True),
    dict(type="LoadAnnotations"),
    dict(type="PackWSSSInputs"),
]
model = dict(data_preprocessor=dict(size=crop_size), backbone=dict(init_cfg=None))
train_dataloader = dict(
    batch_size=2, num_workers=1, dataset=dict(data_root=data_root, pipeline=train_pipeline)
)
val_dataloader = dict(
    num_workers=1, dataset=dict(data_root=data_root, pipeline=test_pipeline, indices=4)
)
test_dataloader = val_dataloader
param_scheduler = [dict(type="PolyLR", power=0.9, by_epoch=False, begin=0, end=max_iters + 1)]
train_cfg = dict(max_iters=max_iters, val_interval=max_iters + 1)
default_hooks = dict(logger=dict(interval=1), checkpoint=dict(interval=2))
