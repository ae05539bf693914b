#!/usr/bin/env python3
"""The LSTM autoencoder of `src/detectors/sequence/neural/lstm/` in PyTorch, at the sizes of `cargo bench --bench sequences`.

    lstm.py [THREADS] [ROUNDS]

Prints tokens per second of training (forward, backward, Adam) and of scoring, by the clock and by processor time.
"""
import sys
import time

import torch
from torch import nn

THREADS, ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 2, int(sys.argv[2]) if len(sys.argv) > 2 else 3
SEQUENCES, LENGTH, SYMBOLS, EMBEDDING, HIDDEN, BATCH = 6_400, 32, 200, 32, 64, 128


class Autoencoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(SYMBOLS, EMBEDDING)
        self.encoder = nn.LSTM(EMBEDDING, HIDDEN, batch_first=True)
        self.decoder = nn.LSTM(HIDDEN, HIDDEN, batch_first=True)
        self.output = nn.Linear(HIDDEN, SYMBOLS)

    def forward(self, x):
        _, (code, _) = self.encoder(self.embedding(x))
        states, _ = self.decoder(code[-1].unsqueeze(1).expand(-1, x.shape[1], -1))
        return self.output(states)


torch.set_num_threads(THREADS)
torch.manual_seed(0)
data = torch.randint(0, SYMBOLS, (SEQUENCES, LENGTH))
model = Autoencoder()
optimizer = torch.optim.Adam(model.parameters(), 1e-3)


def surprise(x, reduction):
    return nn.functional.cross_entropy(model(x).reshape(-1, SYMBOLS), x.reshape(-1), reduction=reduction)


def train():
    for x in data.split(BATCH):
        loss = surprise(x, "mean")
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def score():
    with torch.no_grad():
        for x in data.split(1024):
            surprise(x, "none")


train()
for _ in range(ROUNDS):
    for name, work in [("train", train), ("score", score)]:
        clock, used = time.perf_counter(), time.process_time()
        work()
        clock, used = time.perf_counter() - clock, time.process_time() - used
        tokens = SEQUENCES * LENGTH
        print(f"{name}: {tokens / clock:,.0f} tokens/s, {tokens / used:,.0f} per second of processor", flush=True)
