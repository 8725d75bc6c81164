"""Predict the first 7.5 s of a WAV with an exported recogniser: recognise_onnx.py model.onnx speech.wav"""

import json
import sys

import onnxruntime
import soundfile

model, speech = sys.argv[1:] if len(sys.argv) == 3 else sys.exit("expected: model.onnx speech.wav")
session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
about = session.get_modelmeta()
samples, rate = soundfile.read(speech, dtype="float32", always_2d=True)
if rate != int(about.custom_metadata_map["rate"]):
    sys.exit(f"{speech}: {rate} Hz, expected {about.custom_metadata_map['rate']}: resample it first")
names = [output.name for output in session.get_outputs()]
outputs = dict(zip(names, session.run(names, {"samples": samples.mean(axis=1)}), strict=True))
print(about.description)
for task, classes in json.loads(about.custom_metadata_map["names"]).items():
    probabilities, spread = outputs[f"{task}_probabilities"], outputs[f"{task}_spread"]
    best = probabilities.argmax()
    print(f"{task} {classes[best]} ({probabilities[best]:.4f} ± {spread[best]:.4f})")
