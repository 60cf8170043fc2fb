# 80,000 iterations: 5,000 classification only, pseudo label until 15,000 (Ru et al., CVPR 2022).
_base_ = "./afa_voc12_20k.py"
max_iters = 80000
_warmup = 1500
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
train_cfg = dict(max_iters=max_iters, val_interval=10000)
default_hooks = dict(checkpoint=dict(interval=10000))
custom_hooks = [
    dict(type="PhaseHook", phases=dict(cls=0, pseudo=5000, propagated=15000)),
    dict(type="ReproducibleHook"),
    dict(type="WSSSVisualizationHook", interval=4000),
]
