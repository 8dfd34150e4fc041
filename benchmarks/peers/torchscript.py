"""The same in torch: load the bundle's TorchScript, read rows with csv, write predictions."""

import csv
import sys
import warnings
from pathlib import Path

import torch

source, bundle, out = sys.argv[1:]
warnings.simplefilter("ignore", DeprecationWarning)  # torch has deprecated TorchScript
model = torch.jit.load(f"{bundle}/model.torchscript.pt")  # type: ignore[no-untyped-call]  # torch's own
with Path(source).open(newline="") as stream:
    rows = list(csv.DictReader(stream))
features = torch.tensor([[float(row["price"]), float(row["rating"])] for row in rows])
with torch.no_grad():
    label, probabilities, _ = model(features)
with Path(out).open("w", newline="") as stream:
    writer = csv.writer(stream)
    writer.writerow([*rows[0], "label", "probability"])
    for row, chosen, of_classes in zip(rows, label.tolist(), probabilities.tolist(), strict=True):
        writer.writerow([*row.values(), ["no", "yes"][chosen], of_classes[chosen]])
