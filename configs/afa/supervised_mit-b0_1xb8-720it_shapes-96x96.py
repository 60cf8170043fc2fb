# Upper bound for AFA on Shapes: the same network and schedule, trained on the true masks.
_base_ = [
    "../_base_/models/imagenet_colours.py",
    "../_base_/datasets/shapes.py",
    "../_base_/schedules/afa_shapes.py",
    "../_base_/default_runtime.py",
]
max_iters = 720
num_classes = 7
crop_size = (96, 96)
train_pipeline = [
    dict(type="LoadPhoto"),
    dict(type="LoadAnnotations"),
    dict(type="Resize", scale=crop_size, keep_ratio=False),
    dict(type="RandomScale", ratio_range=(1.0, 1.2)),
    dict(type="RandomFlip", prob=0.5),
    dict(type="RandomCropPad", crop_size=crop_size),
    dict(type="PackWSSSInputs"),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
model = dict(
    type="EncoderDecoder",
    data_preprocessor=dict(size=crop_size),
    backbone=dict(type="MiTAttn", arch="b0", strides=(4, 2, 1, 1), drop_path_rate=0.0),
    decode_head=dict(
        type="SegformerHead",
        in_index=[0, 1, 2, 3],
        channels=128,
        dropout_ratio=0.1,
        num_classes=num_classes,
        norm_cfg=dict(type="BN", requires_grad=True),
        act_cfg=None,
        align_corners=False,
        loss_decode=dict(type="BalancedCrossEntropyLoss"),
    ),
    test_cfg=dict(mode="whole"),
)
# Nothing to wait for here: all parts at one learning rate, which falls linearly.
optim_wrapper = dict(
    paramwise_cfg=dict(
        custom_keys={"decode_head": dict(lr_mult=1), "affinity_head": dict(lr_mult=1)}
    )
)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.01, by_epoch=False, begin=0, end=50),
    dict(type="PolyLR", eta_min=0.0, by_epoch=False, begin=50, end=max_iters + 1),
]
train_cfg = dict(max_iters=max_iters, val_interval=360)
default_hooks = dict(checkpoint=dict(interval=360))
val_evaluator = [dict(type="WSSSIoUMetric", field="pred_sem_seg", prefix="seg")]
test_evaluator = val_evaluator
custom_hooks = [dict(type="ReproducibleHook")]
