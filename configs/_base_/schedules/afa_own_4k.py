# 4,000 iterations for some hundred photos: 800 classification only, pseudo label until 1,600.
_base_ = "./afa_voc12_20k.py"
max_iters = 4000
_warmup = 300
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
train_cfg = dict(max_iters=max_iters, val_interval=500)
# Without masks nothing says which checkpoint segments best: the last one is kept, not the best.
default_hooks = dict(checkpoint=dict(interval=500, max_keep_ckpts=2, save_best=None))
custom_hooks = [
    dict(type="PhaseHook", phases=dict(cls=0, pseudo=800, propagated=1600)),
    dict(type="ReproducibleHook"),
    dict(type="WSSSVisualizationHook", interval=500),
]
