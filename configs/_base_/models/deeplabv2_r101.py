# DeepLab-v2 on ResNet-101 (Chen et al., TPAMI 2018); torchvision's weights.
_base_ = "./imagenet_colours.py"
num_classes = 21
model = dict(
    type="EncoderDecoder",
    data_preprocessor=dict(size=(321, 321)),
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
        dilations=(6, 12, 18, 24),
        in_index=0,
        num_classes=num_classes,
    ),
    test_cfg=dict(mode="whole"),
)
