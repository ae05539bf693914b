"""Isolation forests of scikit-learn and isotree on 200,000 rows x 32 columns, 100 trees of 256 rows, two threads.

    pip install scikit-learn isotree pandas; python benches/peers/forest.py
"""

import time

import numpy as np
from isotree import IsolationForest as IsoTree
from sklearn.ensemble import IsolationForest

rng = np.random.default_rng(1)
rows = rng.random((200_000, 32)) * 2 - 1 + rng.random((200_000, 32))

contenders = {
    "scikit-learn": IsolationForest(n_estimators=100, max_samples=256, n_jobs=2, random_state=0),
    "isotree, 1 column per cut": IsoTree(ntrees=100, sample_size=256, ndim=1, nthreads=2),
    "isotree, 2 columns per cut": IsoTree(ntrees=100, sample_size=256, ndim=2, nthreads=2),
}
for name, model in contenders.items():
    begun = time.perf_counter()
    model.fit(rows)
    fitted = time.perf_counter()
    score = model.score_samples if hasattr(model, "score_samples") else model.predict
    times = []
    for _ in range(3):
        start = time.perf_counter()
        score(rows)
        times.append(time.perf_counter() - start)
    median = sorted(times)[1]
    print(f"{name:28} fit {fitted - begun:6.3f} s   score {median:6.3f} s   {len(rows) / median:10,.0f} rows/s")
