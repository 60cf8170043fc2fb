# Shapes, the built-in data set: `python tools/dataset_converters/shapes.py`.
_base_ = "./loaders.py"
dataset_type = "ShapesDataset"
data_root = "data/shapes"
crop_size = (96, 96)

train_pipeline = [
    dict(type="LoadPhoto"),
    # Never smaller than the crop: with padded crops we saw CAMs light up at the borders instead of
    # on the objects.
    dict(type="Resize", scale=crop_size, keep_ratio=False),
    dict(type="RandomScale", ratio_range=(1.0, 1.2)),
    dict(type="RandomFlip", prob=0.5),
    dict(type="RandomCropPad", crop_size=crop_size),
    dict(type="PackWSSSInputs"),
]
test_pipeline = [
    dict(type="LoadPhoto"),
    dict(type="LoadAnnotations"),
    dict(type="PackWSSSInputs"),
]

_dataset = dict(
    type=dataset_type,
    data_root=data_root,
    data_prefix=dict(img_path="JPEGImages", seg_map_path="SegmentationClassAug"),
    image_labels="Annotations",
)
train_dataloader = dict(
    batch_size=8,
    num_workers=1,
    dataset=dict(
        **_dataset,
        ann_file="ImageSets/Segmentation/train.txt",
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    num_workers=1,
    dataset=dict(
        **_dataset,
        ann_file="ImageSets/Segmentation/val.txt",
        pipeline=test_pipeline,
        test_mode=True,
    ),
)
test_dataloader = val_dataloader
