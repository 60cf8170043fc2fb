# PASCAL VOC 2012 with the SBD masks (10,582 train_aug / 1,449 val); 2 images per GPU, 2 GPUs.
_base_ = "./loaders.py"
dataset_type = "VOC12Dataset"
data_root = "data/VOCdevkit/VOC2012"
crop_size = (512, 512)

train_pipeline = [
    dict(type="LoadPhoto"),
    dict(type="RandomScale", ratio_range=(0.5, 2.0), backend="pillow"),
    dict(type="RandomFlip", prob=0.5),
    dict(type="RandomCropPad", crop_size=crop_size),
    dict(type="PackWSSSInputs"),
]
test_pipeline = [
    dict(type="LoadPhoto"),
    dict(type="ResizeToFit", scale=(512, 512)),  # long side 512
    dict(type="LoadAnnotations"),
    dict(type="PackWSSSInputs"),
]

_dataset = dict(
    type=dataset_type,
    data_root=data_root,
    data_prefix=dict(img_path="JPEGImages", seg_map_path="SegmentationClassAug"),
    image_labels="image_labels.json",
)
train_dataloader = dict(
    batch_size=2,
    dataset=dict(
        **_dataset,
        ann_file="ImageSets/SegmentationAug/train_aug.txt",
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    dataset=dict(
        **_dataset,
        ann_file="ImageSets/SegmentationAug/val.txt",
        pipeline=test_pipeline,
        test_mode=True,
    ),
)
test_dataloader = val_dataloader
