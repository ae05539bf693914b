#!/usr/bin/env python3
"""What each member of the geometry family adds on nights.

    benches/ablation.py BINARY [--seeds 9101 9102 9103] [--calm 9201 9202 9203 9204] [--work DIR]

Simulates organisations with every attack at medium and low intensity, and calm ones, then trains and scores each of them without the
family, with each member alone, and with all. Prints Markdown: recall in the first ten and first three of a night and share reported,
over attacks; alerts on look-alikes and on nothing that was planted; alerts a calm night, and observed over expected p-values there.
Needs about a gigabyte a seed and a minute a row.
"""

import argparse
import csv
import datetime
import json
import math
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

MEMBERS = [
    "extended_isolation_forest", "dbscan", "one_class_svm", "knn", "mahalanobis", "gaussian_mixture", "autoencoder",
]
TRAINING_DAYS = 45  # of a calm organisation


def run(*command):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, command))}: {done.stderr}")


def make(binary, folder, seed, level):
    if (folder / "store").exists():
        return
    scenarios = ["--scenario", f"all@{level}"] if level else []
    run(binary, "simulate", "--out", folder / "sim", "--preset", "medium", "--seed", seed, *scenarios)
    run(binary, "features", "--events", folder / "sim/events", "--store", folder / "store", "--config", folder / "sim/quietwatch.toml")
    days = sorted(p.name[:10] for p in (folder / "sim/events").iterdir())
    until = json.loads((folder / "sim/truth.json").read_text())["train_until"] if level else days[TRAINING_DAYS - 1]
    (folder / "until").write_text(until)
    run("rm", "-rf", folder / "sim/events")


def score(binary, folder, tag, settings):
    until = (folder / "until").read_text()
    begin = datetime.date.fromisoformat(until) + datetime.timedelta(1)
    out = folder / tag
    run("rm", "-rf", out)
    sets = [x for s in settings for x in ("--set", s)]
    common = ["--store", folder / "store", "--models", out / "models", "--name", "org"]
    run(binary, "--threads", 1, "train", *common, "--until", until, "--config", folder / "sim/quietwatch.toml", *sets)
    run(binary, "--threads", 1, "score", *common, "--from", begin, "--to", "2099-12-31", "--out", out / "run")
    rows = [json.loads(line) for line in (out / "run/anomalies.jsonl").open()]
    return rows, json.loads((out / "run/run.json").read_text())["nights"]


def judge(folder, rows):
    """Per scenario (best rank, reported, least p); alerts on look-alikes alone, and on nothing planted."""
    found, hits, alikes = {}, set(), set()
    for label in csv.DictReader((folder / "sim/labels.csv").open()):
        benign = label["category"] == "benign"
        for i, r in enumerate(rows):
            touches = label["user_id"] in (r["user_ids"] or []) and r["window_start"][:19] <= label["end"][:19]
            if not touches or r["window_end"][:19] < label["start"][:19]:
                continue
            if r["reported"]:
                (alikes if benign else hits).add(i)
            if not benign:
                rank, reported, p = found.get(label["scenario"], (999, False, 1.0))
                found[label["scenario"]] = (min(rank, r["rank"]), reported or r["reported"], min(p, r["p_value"]))
        if not benign:
            found.setdefault(label["scenario"], (999, False, 1.0))
    reported = {i for i, r in enumerate(rows) if r["reported"]}
    return list(found.values()), len(alikes - hits), len(reported - hits - alikes)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary")
    parser.add_argument("--seeds", type=int, nargs="+", default=[9101, 9102, 9103])
    parser.add_argument("--calm", type=int, nargs="+", default=[9201, 9202, 9203, 9204])
    parser.add_argument("--work", type=Path)
    args = parser.parse_args()
    work = args.work or Path(tempfile.mkdtemp())
    attacked = {level: [work / f"{level}-{seed}" for seed in args.seeds] for level in ("medium", "low")}
    calm = [work / f"calm-{seed}" for seed in args.calm]
    for level, seeds in [("medium", args.seeds), ("low", args.seeds), (None, args.calm)]:
        for seed in seeds:
            make(args.binary, work / f"{level or 'calm'}-{seed}", seed, level)
    rows = [("none", ["fusion.geometry=0"])] + [(m, ["fusion.geometry=1", f'geometry.night-members=["{m}"]']) for m in MEMBERS]
    rows.append(("all", ["fusion.geometry=1", f"geometry.night-members={json.dumps(MEMBERS)}"]))
    print("| members | level | attacks | top 10 | top 3 | reported | mean −log10 p | look-alikes | on nothing | calm alerts a night | O/E at .01 | at .001 |")
    print("|---|---|---|---|---|---|---|---|---|---|---|---|")
    for tag, settings in rows:
        with ThreadPoolExecutor(2) as pool:
            jobs = {f: pool.submit(score, args.binary, f, tag, settings) for f in [*attacked["medium"], *attacked["low"], *calm]}
            done = {f: job.result() for f, job in jobs.items()}
        nights = [n for f in calm for n in done[f][1]]
        p = [r["p_value"] for f in calm for r in done[f][0]]
        subjects = sum(n["subjects"] for n in nights)
        ratio = [sum(x <= at for x in p) / (at * subjects) for at in (0.01, 0.001)]
        quiet = f"{sum(n['reported'] for n in nights) / len(nights):.3f} | {ratio[0]:.2f} | {ratio[1]:.2f}"
        for level, folders in attacked.items():
            judged = [judge(f, done[f][0]) for f in folders]
            found = [x for j in judged for x in j[0]]
            n = len(found)
            share = [sum(x[0] <= top for x in found) / n for top in (10, 3)] + [sum(x[1] for x in found) / n]
            surprise = sum(-math.log10(x[2]) for x in found) / n
            print(
                f"| {tag} | {level} | {n} | {share[0]:.3f} | {share[1]:.3f} | {share[2]:.3f} | {surprise:.2f} | "
                f"{sum(j[1] for j in judged)} | {sum(j[2] for j in judged)} | {quiet} |",
                flush=True,
            )
            quiet = " | | "


if __name__ == "__main__":
    main()
