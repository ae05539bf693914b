#!/usr/bin/env python3
"""The Transformer of `src/detectors/sequence/neural/transformer/` in PyTorch, at the sizes of `cargo bench --bench sequences`.

    transformer.py [THREADS] [ROUNDS]

Prints tokens per second of training (forward, backward, Adam) and of scoring, by the clock and by processor time.
"""
import sys

import torch
from torch import nn
from torch.nn import functional as F

from rounds import measure

THREADS, ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 2, int(sys.argv[2]) if len(sys.argv) > 2 else 3
SEQUENCES, LENGTH, SYMBOLS, WIDTH, HEADS, CONTEXT, BATCH = 6_400, 32, 200, 64, 4, 128, 64


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.before_attention, self.before_forward = nn.RMSNorm(WIDTH), nn.RMSNorm(WIDTH)
        self.input, self.output = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.inner, self.outer = nn.Linear(WIDTH, 2 * WIDTH), nn.Linear(2 * WIDTH, WIDTH)
        self.distance = nn.Parameter(-torch.arange(CONTEXT) * 0.25 ** (1 + torch.arange(HEADS)[:, None]))

    def forward(self, x, distance, after):
        batch, length, _ = x.shape
        heads = lambda part: part.reshape(batch, length, HEADS, -1).transpose(1, 2)
        query, key, value = map(heads, self.input(self.before_attention(x)).chunk(3, dim=2))
        bias = self.distance[:, distance].masked_fill(after, -torch.inf)
        seen = F.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        x = x + self.output(seen.transpose(1, 2).reshape(batch, length, WIDTH))
        return x + self.outer(self.inner(self.before_forward(x)).relu())


class Transformer(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Parameter(torch.randn(SYMBOLS, WIDTH) / WIDTH**0.5)
        self.layers = nn.ModuleList([Layer(), Layer()])
        self.norm, self.bias = nn.RMSNorm(WIDTH), nn.Parameter(torch.zeros(SYMBOLS))

    def forward(self, given):
        at = torch.arange(given.shape[1])
        distance = at[:, None] - at[None, :]
        x = F.embedding(given, self.embedding)
        for layer in self.layers:
            x = layer(x, distance.clamp(min=0), distance < 0)
        return F.linear(self.norm(x), self.embedding, self.bias)


torch.set_num_threads(THREADS)
torch.manual_seed(0)
tokens = torch.randint(0, SYMBOLS, (SEQUENCES, LENGTH))
# With start and end.
data = torch.cat([torch.zeros(SEQUENCES, 1, dtype=torch.long), tokens, torch.ones(SEQUENCES, 1, dtype=torch.long)], dim=1)
model = Transformer()


def surprise(x, reduction):
    return F.cross_entropy(model(x[:, :-1]).reshape(-1, SYMBOLS), x[:, 1:].reshape(-1), reduction=reduction)


measure(model, surprise, data, SEQUENCES * LENGTH, BATCH, ROUNDS)
