# RGB, normalised by the colours that the backbone's weights were trained with (timm knows them).
model = dict(
    data_preprocessor=dict(
        type="SegDataPreProcessor",
        bgr_to_rgb=True,
        pad_val=0,
        seg_pad_val=255,
    ),
)
