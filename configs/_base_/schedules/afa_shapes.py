# Training from scratch on Shapes: the classifier at a high learning rate, which falls; then labels
# and segmentation while the backbone moves slowly, since CAMs worsen when it does not.
_base_ = "./iterations.py"
max_iters = 820
optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="AdamW", lr=5e-4, betas=(0.9, 0.999), weight_decay=0.01, fused=True),
    paramwise_cfg=dict(
        custom_keys={"decode_head": dict(lr_mult=20), "affinity_head": dict(lr_mult=5)}
    ),
)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.01, by_epoch=False, begin=0, end=50),
    dict(type="LinearLR", start_factor=1.0, end_factor=0.4, by_epoch=False, begin=50, end=375),
    dict(type="LinearLR", start_factor=1.0, end_factor=0.5, by_epoch=False, begin=375, end=385),
    dict(type="PolyLR", eta_min=0.0, by_epoch=False, begin=385, end=max_iters + 1),
]
train_cfg = dict(max_iters=max_iters, val_interval=410)
default_hooks = dict(
    logger=dict(interval=25),
    checkpoint=dict(interval=410, save_best="seg/mIoU", rule="greater"),
)
custom_hooks = [
    dict(type="PhaseHook", phases=dict(cls=0, pseudo=380, propagated=780)),
    dict(type="ReproducibleHook"),
    dict(type="WSSSVisualizationHook", interval=410),
]
