# As afa_mit-b0_1xb4-4k_own-512x512.py, short and small, for a machine without GPU.
_base_ = "./afa_mit-b0_1xb4-4k_own-512x512.py"
crop_size = (160, 160)
max_iters = 600
train_pipeline = [
    dict(type="LoadPhoto", fit=(224, 224)),
    dict(type="ResizeToFit", scale=(224, 224)),
    dict(type="RandomScale", ratio_range=(0.7, 1.5)),
    dict(type="RandomFlip", prob=0.5),
    dict(type="RandomCropPad", crop_size=crop_size),
    dict(type="PackWSSSInputs"),
]
test_pipeline = [
    dict(type="LoadPhoto", fit=(224, 224)),
    dict(type="ResizeToFit", scale=(224, 224)),
    dict(type="LoadOptionalMask"),
    dict(type="PackWSSSInputs"),
]
model = dict(data_preprocessor=dict(size=crop_size))
train_dataloader = dict(num_workers=1, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(num_workers=1, dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
optim_wrapper = dict(optimizer=dict(lr=1e-4))
param_scheduler = [
    dict(type="LinearLR", start_factor=0.01, by_epoch=False, begin=0, end=50),
    dict(type="PolyLR", power=1.0, eta_min=0.0, by_epoch=False, begin=50, end=max_iters + 1),
]
train_cfg = dict(max_iters=max_iters, val_interval=200)
default_hooks = dict(logger=dict(interval=20), checkpoint=dict(interval=100))
custom_hooks = [
    dict(type="PhaseHook", phases=dict(cls=0, pseudo=200, propagated=400)),
    dict(type="ReproducibleHook"),
    dict(type="WSSSVisualizationHook", interval=200),
]
