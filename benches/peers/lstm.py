#!/usr/bin/env python3
"""The LSTM autoencoder of `src/detectors/sequence/neural/lstm/` in PyTorch, at the sizes of `cargo bench --bench sequences`.

    lstm.py [THREADS] [ROUNDS]

Prints tokens per second of training (forward, backward, Adam) and of scoring, by the clock and by processor time.
"""
import sys

import torch
from torch import nn

from rounds import measure

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


def surprise(x, reduction):
    return nn.functional.cross_entropy(model(x).reshape(-1, SYMBOLS), x.reshape(-1), reduction=reduction)


measure(model, surprise, data, SEQUENCES * LENGTH, BATCH, ROUNDS)
