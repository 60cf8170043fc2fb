# Segmentation network of AffinityNet (Ahn & Kwak, CVPR 2018) on ResNet38: two convolutions of rate 12.
_base_ = "./imagenet_colours.py"
num_classes = 21
model = dict(
    type="EncoderDecoder",
    data_preprocessor=dict(size=(321, 321)),
    backbone=dict(
        type="ResNet38",
        out_indices=(5,),
        init_cfg=dict(type="Pretrained", checkpoint="weights/resnet38_imagenet.params"),
    ),
    decode_head=dict(
        type="ResNet38SegHead",
        channels=512,
        dilation=12,
        in_index=0,
        num_classes=num_classes,
    ),
    test_cfg=dict(mode="whole"),
)
