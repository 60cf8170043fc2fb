# DeepLab-v2 on ResNet-101 (Chen et al., TPAMI 2018); torchvision's weights.
num_classes = 21
model = dict(
    type="EncoderDecoder",
    data_preprocessor=dict(
        type="SegDataPreProcessor",
        size=(321, 321),
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_val=0,
        seg_pad_val=255,
    ),
    backbone=dict(
        type="ResNet",
        depth=101,
        out_indices=(3,),
        strides=(1, 2, 1, 1),
        dilations=(1, 1, 2, 4),
        contract_dilation=True,
        norm_cfg=dict(type="BN", requires_grad=False),
        norm_eval=True,
        init_cfg=dict(type="Pretrained", checkpoint="weights/resnet101.pth"),
    ),
    decode_head=dict(
        type="DeepLabV2Head",
        in_channels=2048,
        dilations=(6, 12, 18, 24),
        in_index=0,
        num_classes=num_classes,
    ),
    test_cfg=dict(mode="whole"),
)
