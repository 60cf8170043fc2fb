# MS COCO 2014 without images that have no object (82,081 train / 40,137 val); 4 images per GPU, 2 GPUs.
_base_ = "./loaders.py"
dataset_type = "COCO14Dataset"
data_root = "data/coco14"
crop_size = (512, 512)

# COCO's masks and boxes lie in the grid of the stored pixels.
train_pipeline = [
    dict(type="LoadPhoto", apply_exif=False),
    dict(type="RandomScale", ratio_range=(0.5, 2.0), backend="pillow"),
    dict(type="RandomFlip", prob=0.5),
    dict(type="RandomCropPad", crop_size=crop_size),
    dict(type="PackWSSSInputs"),
]
test_pipeline = [
    dict(type="LoadPhoto", apply_exif=False),
    dict(type="ResizeToFit", scale=(512, 512)),  # long side 512
    dict(type="LoadAnnotations"),
    dict(type="PackWSSSInputs"),
]

_dataset = dict(
    type=dataset_type,
    data_root=data_root,
    image_labels="image_labels.json",
)
train_dataloader = dict(
    batch_size=4,
    dataset=dict(
        **_dataset,
        ann_file="ImageSets/train.txt",
        data_prefix=dict(img_path="train2014", seg_map_path="SegmentationClass/train2014"),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    dataset=dict(
        **_dataset,
        ann_file="ImageSets/val.txt",
        data_prefix=dict(img_path="val2014", seg_map_path="SegmentationClass/val2014"),
        pipeline=test_pipeline,
        test_mode=True,
    ),
)
test_dataloader = val_dataloader
