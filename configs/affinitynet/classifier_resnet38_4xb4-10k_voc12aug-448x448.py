# AffinityNet's classifier on VOC 2012 aug. Published (Ahn & Kwak, CVPR 2018): its CAMs reach 48.0 mIoU on
# train. Not measured by us.
_base_ = [
    "../_base_/models/cam_resnet38.py",
    "../_base_/datasets/voc12_aug.py",
    "../_base_/schedules/sgd_poly.py",
    "../_base_/default_runtime.py",
]
crop_size = (448, 448)
max_iters = 9920  # 15 epochs of 10,582 photos, 16 at a time
train_pipeline = [
    dict(type="LoadPhoto"),
    dict(  # long side 256 to 512
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
train_dataloader = dict(batch_size=4, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
# The authors' program passes the weight decay where momentum belongs: 5e-4 in effect. The paper
# names none; this is what the published checkpoints were trained with.
optim_wrapper = dict(optimizer=dict(lr=0.01, momentum=5e-4))
param_scheduler = [dict(type="PolyLR", power=0.9, by_epoch=False, begin=0, end=max_iters + 1)]
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
val_evaluator = [
    dict(type="MultiLabelMetric", prefix="cls"),
    dict(type="WSSSIoUMetric", field="pred_cam", prefix="cam"),
]
test_evaluator = val_evaluator
