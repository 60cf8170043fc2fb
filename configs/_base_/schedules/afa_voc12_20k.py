# 20,000 iterations: 2,000 classification only, then the pseudo label, from 6,000 on the propagated
# label (Ru et al., CVPR 2022).
_base_ = "./iterations.py"
max_iters = 20000
_warmup = 1500
optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="AdamW", lr=6e-5, betas=(0.9, 0.999), weight_decay=0.01, fused=True),
    paramwise_cfg=dict(
        custom_keys={
            "cls_head": dict(lr_mult=10),
            "decode_head": dict(lr_mult=10),
            "affinity_head": dict(lr_mult=10),
            "norm": dict(lr_mult=0),  # layer norms of the backbone stay as they were loaded
        }
    ),
)
param_scheduler = [
    dict(type="LinearLR", start_factor=1e-6, by_epoch=False, begin=0, end=_warmup + 1),
    # 1 - step / max_iters of the whole run, also right after the warm-up
    dict(
        type="LinearLR",
        start_factor=1 - _warmup / max_iters,
        end_factor=0.0,
        by_epoch=False,
        begin=_warmup,
        end=max_iters + 1,
    ),
]
train_cfg = dict(max_iters=max_iters, val_interval=2000)
default_hooks = dict(
    checkpoint=dict(interval=2000, max_keep_ckpts=3, save_best="seg/mIoU", rule="greater")
)
custom_hooks = [
    dict(type="PhaseHook", phases=dict(cls=0, pseudo=2000, propagated=6000)),
    dict(type="ReproducibleHook"),
    dict(type="WSSSVisualizationHook", interval=1000),
]
