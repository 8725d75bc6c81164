"""What an exported recogniser says of the first 7.5 s of a WAV: recognise_onnx.py model.onnx speech.wav"""

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
said = dict(zip(names, session.run(names, {"samples": samples.mean(axis=1)}), strict=True))
print(about.description)
for target, classes in json.loads(about.custom_metadata_map["classes"]).items():
    second, spread = said[target + "_probability"], said[target + "_spread"]
    print(f"{target} {classes[int(second > 0.5)]} ({classes[1]}: {second:.4f} ± {spread:.4f})")
