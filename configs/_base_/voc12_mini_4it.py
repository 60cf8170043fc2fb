# What the networks of the multi-stage methods share to be tried on voc12-mini without GPU: a small crop, four
# iterations, four photos to validate. A config sets these values over those of the real recipe.
_data_root = "data/voc12-mini"
_crop_size = (96, 96)
_max_iters = 4
_augmentation = [
    dict(type="RandomScale", ratio_range=(0.3, 0.5)),
    dict(type="RandomFlip", prob=0.5),
    dict(type="RandomCropPad", crop_size=_crop_size, pad_val=(103.53, 116.28, 123.675)),
    dict(type="PackWSSSInputs"),
]
_photos = [dict(type="LoadPhoto"), *_augmentation]
_photos_and_masks = [dict(type="LoadPhoto"), dict(type="LoadAnnotations"), *_augmentation]
_test_pipeline = [
    dict(type="LoadPhoto"),
    dict(type="Resize", scale=_crop_size, keep_ratio=True),
    dict(type="LoadAnnotations"),
    dict(type="PackWSSSInputs"),
]
_train_loader = dict(batch_size=2, num_workers=1)
_test_loader = dict(
    num_workers=1, dataset=dict(data_root=_data_root, pipeline=_test_pipeline, indices=4)
)
_schedule = [dict(type="PolyLR", power=0.9, by_epoch=False, begin=0, end=_max_iters + 1)]
_hooks = dict(logger=dict(interval=1), checkpoint=dict(interval=2))
