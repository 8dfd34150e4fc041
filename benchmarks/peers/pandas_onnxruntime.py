"""A common script: pandas, onnxruntime, pandas."""

import sys

import numpy as np
import onnxruntime as ort
import pandas as pd

source, bundle, out = sys.argv[1:]
table = pd.read_csv(source)
session = ort.InferenceSession(f"{bundle}/model.onnx", providers=["CPUExecutionProvider"])
features = table[["price", "rating"]].to_numpy(np.float32)
label, probabilities = session.run(["label", "probabilities"], {"features": features})
table["label"] = np.array(["no", "yes"])[label]
table["probability"] = probabilities[np.arange(len(label)), label]
table.to_csv(out, index=False)
