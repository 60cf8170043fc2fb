# DeepLab-LargeFOV on VGG16 (Chen et al., ICLR 2015).
_base_ = "./imagenet_colours.py"
num_classes = 21
model = dict(
    type="EncoderDecoder",
    data_preprocessor=dict(size=(321, 321)),
    backbone=dict(
        type="VGG16LargeFOV",
        out_indices=(5,),
        init_cfg=dict(type="Pretrained", checkpoint="weights/vgg16.pth"),
    ),
    decode_head=dict(
        type="LargeFOVHead",
        in_index=0,
        dropout_ratio=0.5,
        num_classes=num_classes,
    ),
    test_cfg=dict(mode="whole"),
)
