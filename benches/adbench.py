"""ADBench's unsupervised protocol (Han et al. 2022) for every set of a folder, through the command line.

    benches/adbench.py BINARY DATA_DIR [--seeds 1 2 3] [--ablation] [--out FILE.md]

DATA_DIR holds .npz files with X and y, as ADBench's repository has them. Sets of fewer than 1,000 rows are drawn with
replacement to 1,000, of those with more than 10,000 that many are kept; 70 % train, anomalies and all, without labels; the
other rows are scored. Needs numpy, pandas, pyarrow, scipy and scikit-learn, whose IsolationForest runs on the same splits.
"""

import argparse
import concurrent.futures
import pathlib
import shlex
import subprocess
import tempfile
import tomllib

import numpy as np
import pandas as pd
from scipy.stats import wilcoxon
from sklearn.ensemble import IsolationForest
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.model_selection import train_test_split

PEER = "scikit-learn forest"
SCORE = "score"
SHORT = {"extended_isolation_forest": "forest", "one_class_svm": "svm", "gaussian_mixture": "mixture"}


def short(name):
    return SHORT.get(name, name)


def split(path, seed):
    """Rows and labels to train and test with, drawn as ADBench's DataGenerator draws them."""
    with np.load(path, allow_pickle=True) as file:
        x, y = np.asarray(file["X"], float), np.asarray(file["y"], int).ravel()
    rng = np.random.RandomState(seed)
    if len(x) < 1_000:
        drawn = rng.choice(np.arange(len(x)), 1_000, replace=True)
        x, y = x[drawn], y[drawn]
    elif len(x) > 10_000:
        drawn = rng.choice(len(x), 10_000, replace=False)
        x, y = x[drawn], y[drawn]
    return train_test_split(x, y, test_size=0.3, shuffle=True, stratify=y, random_state=seed)


def write(path, rows):
    frame = pd.DataFrame(rows, columns=[f"x{i:04}" for i in range(rows.shape[1])])
    frame.insert(0, "row", np.arange(len(rows)))
    frame.to_parquet(path, index=False)


def scored(binary, folder, name, settings):
    """Trains on train.parquet of the folder, scores its test.parquet; what scores.parquet holds, in the order of rows."""
    model = ["--models", f"{folder}/models", "--name", name]

    def run(*arguments):
        done = subprocess.run([binary, *arguments], capture_output=True, text=True)
        if done.returncode != 0:
            raise SystemExit(f"{shlex.join([binary, *arguments])}\nfailed with {done.returncode}: {done.stderr}")

    run("train", "--table", f"{folder}/train.parquet", "--key", "row", *model, *settings)
    run("score", "--table", f"{folder}/test.parquet", *model, "--out", f"{folder}/{name}")
    frame = pd.read_parquet(f"{folder}/{name}/scores.parquet").sort_values("row")
    assert (frame["row"].to_numpy() == np.arange(len(frame))).all(), "every row once"
    # A score is a falling map of the p-value and may be equal for the very smallest; the p-value breaks such ties.
    assert (np.diff(frame.sort_values("p_value")["score"]) <= 0).all(), "scores fall as p-values rise"
    return frame.drop(columns=["row", "score"]).assign(p_value=-frame["p_value"]).rename(columns={"p_value": SCORE})


def measured(y, ranking):
    return np.array([roc_auc_score(y, ranking), average_precision_score(y, ranking)]) * 100


def one(binary, path, seed, counting, ablation):
    """AUROC and average precision, in points, of each contender on one split of one set."""
    train, test, _, y = split(path, seed)
    peer = IsolationForest(random_state=seed).fit(train)
    out = {PEER: measured(y, -peer.score_samples(test))}
    with tempfile.TemporaryDirectory() as folder:
        write(f"{folder}/train.parquet", train)
        write(f"{folder}/test.parquet", test)
        seeded = ["--seed", str(seed)]
        for name, column in scored(binary, folder, "all", seeded).items():
            out[name] = measured(y, column)
        for left_out in counting if ablation else []:
            rest = ", ".join(f'"{m}"' for m in counting if m != left_out)
            settings = [*seeded, "--set", f"geometry.members=[{rest}]"]
            out["without " + left_out] = measured(y, scored(binary, folder, "without-" + left_out, settings)[SCORE])
    return out


def table(rows, header):
    lines = ["| " + " | ".join(header) + " |", "|---" * len(header) + "|"]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def compared(results, sets, names, base):
    """Mean, difference to the base, sets won and Wilcoxon's p for every name: rows of a table."""
    rows = []
    for name in names:
        mean = np.array([results[s][name] for s in sets])
        row = [short(name)]
        for k in (0, 1):
            difference = mean[:, k] - np.array([results[s][base] for s in sets])[:, k]
            row.append(f"{mean[:, k].mean():.2f}")
            if name == base:
                row += ["", "", ""]
                continue
            p = wilcoxon(difference).pvalue if difference.any() else 1.0
            row += [f"{difference.mean():+.2f}", f"{(difference > 0).sum()} of {len(sets)}", f"{p:.3f}"]
        rows.append(row)
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("binary")
    parser.add_argument("data", type=pathlib.Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--ablation", action="store_true", help="train again with every member left out in turn")
    parser.add_argument("--jobs", type=int, default=1, help="splits that are worked on at once")
    parser.add_argument("--out", type=pathlib.Path)
    args = parser.parse_args()

    shown = subprocess.run([args.binary, "config", "show"], capture_output=True, text=True, check=True).stdout
    counting = tomllib.loads(shown)["geometry"]["members"]
    paths = {p.stem.split("_", 1)[-1]: p for p in sorted(args.data.glob("*.npz"), key=lambda p: p.stem.lower())}
    if not paths:
        raise SystemExit(f"expected .npz files in {args.data}, found none")
    jobs = [(name, seed) for name in paths for seed in args.seeds]

    def work(job):
        found = one(args.binary, paths[job[0]], job[1], counting, args.ablation)
        print(f"{job[0]} {job[1]}: {found[SCORE][0]:.1f}, {PEER} {found[PEER][0]:.1f}", flush=True)
        return found

    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        runs = dict(zip(jobs, pool.map(work, jobs)))
    sets = list(paths)
    everything = list(runs[jobs[0]])
    results = {s: {n: np.mean([runs[s, seed][n] for seed in args.seeds], axis=0) for n in everything} for s in sets}
    names = [n for n in everything if not n.startswith("without ")]

    command = f"benches/adbench.py BINARY DATA_DIR --seeds {' '.join(map(str, args.seeds))}"
    command += " --ablation" * args.ablation + " --out benches/adbench.md" * (args.out is not None)
    text = [
        "# The geometry family on ADBench's sets",
        f"Made by `{command}`, on {len(sets)} sets; every number is a mean over the seeds. AUROC / average precision of the"
        " rows that were held out, in points. Columns but the first and the last are single members; `score` is all that"
        " count together.",
        table(
            [[s] + [f"{results[s][n][0]:.1f} / {results[s][n][1]:.1f}" for n in names] for s in sets],
            ["set", *map(short, names)],
        ),
        "## Means over the sets",
        f"Differences are to the {PEER}; p is that of Wilcoxon's signed-rank test over the sets.",
        table(
            compared(results, sets, names, PEER),
            ["", "AUROC", "difference", "sets won", "p", "average precision", "difference", "sets won", "p"],
        ),
    ]
    if args.ablation:
        left = [SCORE] + [n for n in everything if n.startswith("without ")]
        text += [
            "## One member left out",
            "What becomes of `score` when a member does not count. Differences are to all that count.",
            table(
                compared(results, sets, left, SCORE),
                ["", "AUROC", "difference", "sets better", "p", "average precision", "difference", "sets better", "p"],
            ),
        ]
    text = "\n\n".join(text) + "\n"
    print(text)
    if args.out:
        args.out.write_text(text)


if __name__ == "__main__":
    main()
