# AFA on Shapes from a trained classifier on: what tools/benchmarks/ablation.py varies.
_base_ = "./afa_mit-b0_1xb8-820it_shapes-96x96.py"
max_iters = 300
model = dict(train_cfg=dict(mirror_scales=None))  # at all scales, as in the paper
# A short label phase takes a higher rate of the affinity than the demo's.
optim_wrapper = dict(
    optimizer=dict(lr=1e-4), paramwise_cfg=dict(custom_keys={"affinity_head": dict(lr_mult=20)})
)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.1, by_epoch=False, begin=0, end=10),
    dict(type="PolyLR", eta_min=0.0, by_epoch=False, begin=10, end=max_iters + 1),
]
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
default_hooks = dict(checkpoint=dict(interval=max_iters))
custom_hooks = [
    dict(type="PhaseHook", phases=dict(pseudo=0, propagated=200)),
    dict(type="ReproducibleHook"),
]
