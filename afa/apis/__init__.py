"""Whole runs as functions, and prediction as mmseg.apis has it."""

from afa.apis.inference import inference_model, init_model, show_result_pyplot
from afa.apis.predict import PredictionFolder, PredictOptions, PredictSummary, predict_photos
