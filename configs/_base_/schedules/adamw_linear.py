# AdamW for networks with weights of ImageNet: what is new learns ten times as fast. How the rate falls, and
# iterations, stand in each config.
_base_ = "./iterations.py"
optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="AdamW", lr=1e-4, betas=(0.9, 0.999), weight_decay=0.01, fused=True),
    paramwise_cfg=dict(
        custom_keys={
            name: dict(lr_mult=10)
            for name in ("cls_head", "sub_head", "decode_head", "affinity_head", "attention")
        }
    ),
)
