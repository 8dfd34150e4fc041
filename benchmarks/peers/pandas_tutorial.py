"""A common script: pandas reads the table, torch's DataLoader feeds the tutorial's loop."""

import json
import sys
import time
from pathlib import Path

import pandas as pd
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.tensorboard import SummaryWriter

source, batch_size, logdir = sys.argv[1:]
torch.manual_seed(1)
torch.set_num_threads(1)
started = time.perf_counter()
table = pd.read_csv(Path(source))
features = torch.tensor(table[["price", "rating"]].to_numpy(), dtype=torch.float32)
labels = torch.tensor((table["popular"] == "yes").to_numpy().astype("int64"))
chosen = torch.randperm(len(labels))
test, train = chosen[: len(labels) // 5], chosen[len(labels) // 5 :]
rows = TensorDataset(features[train], labels[train])
loader = DataLoader(rows, batch_size=int(batch_size), shuffle=True)
model = nn.Sequential(nn.Linear(2, 32), nn.ReLU(), nn.Linear(32, 2))
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
writer = SummaryWriter(logdir)
for step, (batch_features, batch_labels) in enumerate(loader):
    optimizer.zero_grad()
    loss = criterion(model(batch_features), batch_labels)
    loss.backward()
    optimizer.step()
    writer.add_scalar("Loss/train", loss.item(), step)
with torch.no_grad():
    accuracy = (model(features[test]).argmax(dim=1) == labels[test]).float().mean().item()
writer.add_scalar("Accuracy/test", accuracy, 0)
writer.close()
torch.save(model.state_dict(), Path(logdir) / "model.pt")
print(json.dumps({"seconds": time.perf_counter() - started, "accuracy": accuracy}))
