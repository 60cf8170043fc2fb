# SC-CAM's first classifier on VOC 2012 aug: its features are what the first round clusters (Chang et al.,
# CVPR 2020). Not measured by us.
_base_ = "../affinitynet/classifier_resnet38_4xb4-10k_voc12aug-448x448.py"
crop_size = (224, 224)
max_iters = 39680  # about 60 epochs of 10,582 photos, 16 at a time
train_pipeline = [
    dict(type="LoadPhoto"),
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
model = dict(data_preprocessor=dict(size=crop_size))
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
param_scheduler = [dict(type="PolyLR", power=0.9, by_epoch=False, begin=0, end=max_iters + 1)]
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
