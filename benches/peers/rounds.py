"""Rounds of training (forward, backward, Adam) and of scoring with a network in PyTorch: tokens per second by the clock and by
processor time. What `lstm.py` and `transformer.py` share."""
import time

import torch


def measure(model, surprise, data, tokens, batch, rounds):
    """`surprise(x, reduction)` is the loss of rows `x` of `data`, which hold so many `tokens` in all."""
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)

    def train():
        for x in data.split(batch):
            loss = surprise(x, "mean")
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    def score():
        with torch.no_grad():
            for x in data.split(1024):
                surprise(x, "none")

    train()
    for _ in range(rounds):
        for name, work in [("train", train), ("score", score)]:
            clock, used = time.perf_counter(), time.process_time()
            work()
            clock, used = time.perf_counter() - clock, time.process_time() - used
            print(f"{name}: {tokens / clock:,.0f} tokens/s, {tokens / used:,.0f} per second of processor", flush=True)
