"""Density, boundary and neighbours of scikit-learn on the rows of benches/geometry.rs: 32 columns, two threads.

    pip install scikit-learn; python benches/peers/density.py
"""

import time

import numpy as np
from sklearn.cluster import DBSCAN
from sklearn.neighbors import NearestNeighbors
from sklearn.svm import OneClassSVM

rng = np.random.default_rng(1)
rows = rng.random((20_000, 32)) * 2 - 1 + rng.random((20_000, 32))


def timed(name, work):
    times = []
    for _ in range(3):
        start = time.perf_counter()
        out = work()
        times.append(time.perf_counter() - start)
    print(f"{name:44} {sorted(times)[1] * 1000:10.1f} ms", flush=True)
    return out


for eps in (1.5, 4.0):
    found = timed(f"dbscan 20k x 32, eps {eps:g}", lambda: DBSCAN(eps=eps, min_samples=5, n_jobs=2).fit(rows))
    print(f"  noise {(found.labels_ < 0).sum()}, clusters {found.labels_.max() + 1}")
svm = timed("one-class svm fit 2k x 32", lambda: OneClassSVM(gamma=0.1, nu=0.05).fit(rows[:2_000]))
timed("one-class svm score 2k x 32", lambda: svm.decision_function(rows[:2_000]))
near = NearestNeighbors(n_neighbors=500, algorithm="brute", n_jobs=2).fit(rows[:10_000])
timed("knn 500 of 10k references, 10k x 32", lambda: near.kneighbors(rows[:10_000])[0].mean(axis=1))
