"""Converts one Keras model for the peers: LiteRT, OpenVINO with NNCF's int8, and onnxruntime's own int8.

    python -m benchmarks.peers.prepare keras MODEL FOLDER SCALING     in this project's environment
    python prepare.py openvino FOLDER                                 in the peers' environment

All take pixels from 0 to 255; the model scales them. The calibration pictures are in FOLDER/calibration.npy.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np


def from_keras(model_path: str, folder: Path, scaling: str) -> None:
    """Write keras.keras, fp32.tflite, int8.tflite, tf2onnx.onnx and quantize_static.onnx."""
    import keras
    import onnx
    import tensorflow as tf
    import tf2onnx
    from onnxruntime.quantization import CalibrationDataReader, quantize_static

    from signs_export.convert.tf2onnx_fixes import tf2onnx_patched
    from signs_export.source.scaling import scale

    model = keras.saving.load_model(model_path, compile=False)
    image = keras.Input(model.inputs[0].shape[1:])
    whole = keras.Model(image, model(scale(image, scaling)))  # type: ignore[arg-type]  # one of Keras's modes
    whole.save(folder / "keras.keras")
    pictures = np.load(folder / "calibration.npy").astype(np.float32)

    whole.export(str(folder / "saved"), format="tf_saved_model", verbose=False)
    for name in ("fp32", "int8"):
        converter = tf.lite.TFLiteConverter.from_saved_model(str(folder / "saved"))
        if name == "int8":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.representative_dataset = lambda: ([picture[None]] for picture in pictures)
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
            converter.inference_input_type = tf.uint8
        (folder / f"{name}.tflite").write_bytes(converter.convert())
    signature = [tf.TensorSpec((None, *image.shape[1:]), tf.float32, name="image")]
    with tf2onnx_patched():
        converted, _ = tf2onnx.convert.from_keras(whole, signature, opset=17)
    onnx.save(converted, folder / "tf2onnx.onnx")

    class Pixels(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no types
        def __init__(self) -> None:
            self.pictures = iter([{"image": picture[None]} for picture in pictures])

        def get_next(self) -> Any:
            return next(self.pictures, None)

    quantize_static(folder / "tf2onnx.onnx", folder / "quantize_static.onnx", Pixels())


def for_openvino(folder: Path) -> None:
    """Write openvino.xml and nncf.xml from tf2onnx's file."""
    import nncf
    import openvino as ov

    model = ov.convert_model(folder / "tf2onnx.onnx")
    pictures = np.load(folder / "calibration.npy").astype(np.float32)
    ov.save_model(ov.convert_model(folder / "tf2onnx.onnx"), folder / "openvino.xml", compress_to_fp16=False)
    quantized = nncf.quantize(model, nncf.Dataset([picture[None] for picture in pictures]))
    ov.save_model(quantized, folder / "nncf.xml", compress_to_fp16=False)


if __name__ == "__main__":
    what, *said = sys.argv[1:]
    if what == "keras":
        from_keras(said[0], Path(said[1]), said[2])
    else:
        for_openvino(Path(said[0]))
