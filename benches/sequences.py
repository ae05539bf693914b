#!/usr/bin/env python3
"""What the sequence family reaches on ADFA-LD, and how fast it is.

    benches/sequences.py BINARY DATA [--lstm] [--transformer] [--out benches/sequences.md]

DATA is a `sequences.tsv[.gz]` with the columns split (train, validation, attack), trace_id and syscalls: ADFA-LD (Creech & Hu 2013)
in its official split. The family learns `train` and scores the others with default settings; with --lstm another model has the LSTM
autoencoder too, with --transformer a third the Transformer, and what its model card says of it is quoted. Ties are broken at random,
with a fixed seed. The speed is that of 100,000 made-up sequences of 32 tokens. Needs numpy and polars.
"""
import argparse
import pathlib
import subprocess
import tempfile
import time

import numpy as np
import polars as pl


# Column, setting, and its name in the model card.
NETWORKS = {
    "lstm": ("lstm_autoencoder", "sequence.lstm-autoencoder=true", "LSTM autoencoder"),
    "transformer": ("transformer", "sequence.transformer=true", "Transformer"),
}


def metrics(is_attack, score, seed=0):
    """AUROC, average precision, detection at 1 % and 5 % false alarms, false alarms at 90 % detection."""
    ties = np.random.default_rng(seed).random(len(score))
    falling = np.lexsort((ties, score))[::-1]
    hit = is_attack[falling]
    found, alarms = np.cumsum(hit), np.cumsum(~hit)
    attacks, normal = found[-1], alarms[-1]
    auroc = (normal - alarms[hit]).sum() / (attacks * normal)
    precision = (found / (found + alarms))[hit].mean()
    at = lambda share: found[np.searchsorted(alarms, share * normal, side="right") - 1] / attacks
    return auroc, precision, at(0.01), at(0.05), alarms[np.searchsorted(found, 0.9 * attacks)] / normal


def run(binary, *args):
    start = time.time()
    subprocess.run([binary, *map(str, args)], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.time() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary")
    parser.add_argument("data")
    for network in NETWORKS:
        parser.add_argument(f"--{network}", action="store_true")
    parser.add_argument("--out")
    args = parser.parse_args()
    networks = [n for n in NETWORKS if getattr(args, n)]
    asked = "".join(f" --{n}" for n in networks)
    lines = ["# The sequence family on ADFA-LD", "", f"Made by `benches/sequences.py BINARY DATA{asked}`.", ""]
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        model = ["--models", folder / "models", "--name", "m"]
        data = pl.read_csv(args.data, separator="\t").rename({"trace_id": "sequence_id", "syscalls": "tokens"})
        train, test = data.filter(pl.col("split") == "train"), data.filter(pl.col("split") != "train")
        for name, rows in [("train", train), ("test", test)]:
            rows.select("sequence_id", "tokens").write_parquet(folder / f"{name}.parquet")
        run(args.binary, "train", "--sequences", folder / "train.parquet", *model)
        run(args.binary, "score", "--sequences", folder / "test.parquet", "--out", folder / "run", *model)
        scores = pl.read_parquet(folder / "run/scores.parquet")
        is_attack = (test["split"] == "attack").to_numpy()
        lines += ["| scorer | AUROC | AP | detected at 1 % | at 5 % | false alarms at 90 % |", "|---|---|---|---|---|---|"]
        for column in [c for c in scores.columns if c not in ("sequence_id", "entity", "p_value")]:
            found = metrics(is_attack, scores[column].to_numpy())
            lines.append(f"| `{column}` | " + " | ".join(f"{x:.3f}" for x in found) + " |")
        said = []
        for network in networks:
            column, setting, words = NETWORKS[network]
            model[-1] = network
            took = run(args.binary, "train", "--sequences", folder / "train.parquet", *model, "--set", setting)
            run(args.binary, "score", "--sequences", folder / "test.parquet", "--out", folder / network, *model)
            scores = pl.read_parquet(folder / network / "scores.parquet")
            for column, name in [(column, f"`{column}`"), ("score", f"`score` of a model that has `{column}`")]:
                found = metrics(is_attack, scores[column].to_numpy())
                lines.append(f"| {name} | " + " | ".join(f"{x:.3f}" for x in found) + " |")
            card = (folder / f"models/{network}/versions/000001/card.md").read_text().splitlines()
            row = next(line for line in card if words in line).strip("| ").split(" | ")
            said += ["", f"Training with the {words} took {took:.1f} s. Its model card: {': '.join(row)}."]
        lines += said
        rng = np.random.default_rng(1)
        walks = (rng.integers(0, 4, (100_000, 32)).cumsum(axis=1) + rng.integers(0, 50, (100_000, 1))) % 200
        made = pl.DataFrame({"sequence_id": np.arange(len(walks)), "tokens": walks.tolist()})
        made = made.with_columns(pl.col("tokens").cast(pl.List(pl.String)))
        made.write_parquet(folder / "made.parquet")
        model[-1] = "speed"
        train = run(args.binary, "train", "--sequences", folder / "made.parquet", *model)
        score = run(args.binary, "score", "--sequences", folder / "made.parquet", "--out", folder / "speed", *model)
        lines += ["", f"100,000 sequences of 32 tokens: trained in {train:.1f} s, scored in {score:.1f} s (whole commands)."]
        for network in networks:
            _, setting, words = NETWORKS[network]
            model[-1] = f"speed-{network}"
            train = run(args.binary, "train", "--sequences", folder / "made.parquet", *model, "--set", setting)
            score = run(args.binary, "score", "--sequences", folder / "made.parquet", "--out", folder / model[-1], *model)
            lines.append(f"With the {words}: {train:.1f} s and {score:.1f} s.")
        lines.append("")
    text = "\n".join(lines)
    print(text)
    if args.out:
        pathlib.Path(args.out).write_text(text)


if __name__ == "__main__":
    main()
