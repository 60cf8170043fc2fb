# Segmentation network of the multi-stage methods on EfficientNet-lite0, with AFA's head.
_base_ = "./lite0.py"
num_classes = 21
model = dict(
    type="EncoderDecoder",
    data_preprocessor=dict(size=(448, 448)),
    decode_head=dict(
        type="LeanSegformerHead",
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
