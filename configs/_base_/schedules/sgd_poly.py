# SGD with a rate that falls polynomially, as the multi-stage methods train their networks on VOC. Rate,
# momentum and iterations stand in each config.
_base_ = "./iterations.py"
optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="SGD", lr=0.01, momentum=0.9, weight_decay=5e-4),
    # New layers learn ten times as fast, biases twice as fast as weights.
    paramwise_cfg=dict(
        bias_lr_mult=2,
        custom_keys={
            "head": dict(lr_mult=10),
            "decode_head.conv.conv.bias": dict(lr_mult=20),
            "decode_head.conv_seg.bias": dict(lr_mult=20),
        },
    ),
)
