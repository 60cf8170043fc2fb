# AffinityNet on VOC 2012 aug with the values of the paper where the released program has others (docs/methods.md).
# Published (Ahn & Kwak, CVPR 2018): pseudo labels 48.0, 58.1 after the walk, 59.7 with CRF; val 61.7, test 63.7.
# Not measured by us.
_base_ = "../_base_/pipelines/affinitynet.py"
method = "AffinityNet"
_classifier = "configs/affinitynet/classifier_resnet38_4xb4-10k_voc12aug-448x448.py"
_affinitynet = "configs/affinitynet/affinitynet_resnet38_4xb2-10k_voc12aug-448x448.py"
_segmentation = "configs/affinitynet/segment_resnet38_4xb4-20k_voc12aug-321x321.py"
_hidden = {"model.cls_head.hidden_channels": 512}
_head = {
    "model.affinity_head.channels": "(128,256,512)",
    "model.affinity_head.distance": "sum",
}
stages = [
    dict(_base_.classifier, config=_classifier, options=_hidden),
    dict(_base_.cams, config=_classifier, options=_hidden),
    dict(
        _base_.affinity_labels,
        config=_classifier,
        args=["{cams}", "--split", "train", "--alphas", "4", "24", "--evaluate"],
    ),
    dict(_base_.affinitynet, config=_affinitynet, options={**_base_.affinitynet.options, **_head}),
    dict(_base_.random_walk, config=_affinitynet, options={**_base_.random_walk.options, **_head}),
    dict(
        _base_.pseudo_labels, config=_affinitynet, options={**_base_.pseudo_labels.options, **_head}
    ),
    dict(_base_.segmentation, config=_segmentation),
    dict(_base_.test, config=_segmentation),
    dict(_base_.test_tta_crf, config=_segmentation),
]
