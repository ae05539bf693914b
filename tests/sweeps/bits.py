#!/usr/bin/env python3
"""Flips a single bit of a version, of its signature, and of a store with one partition, COUNT times in all: after each the
commands that read it must refuse it with exit code 7. Prints how often, over which files, and everything that was not refused.

usage: bits.py PATH/TO/quietwatch [COUNT]
"""

import collections
import os
import random
import subprocess
import sys
import tempfile

quietwatch = os.path.realpath(sys.argv[1])
count = int(sys.argv[2]) if len(sys.argv) > 2 else 10_000
random.seed(7)


def run(*args):
    done = subprocess.run([quietwatch, "--threads", "1", *args], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    return done.returncode, done.stderr.decode(errors="replace")


def must(*args):
    code, said = run(*args)
    assert code == 0, f"{args}: exit {code}: {said}"


def archive(path):
    with open(path, "w") as out:
        out.write("timestamp,user_id,client_ip,app_name,entity_name,status_code,request_id\n")
        for day in range(9):
            for user in range(6):
                for call in range(8 + user):
                    out.write(
                        f"2026-01-{5 + day:02}T{7 + (user + call) % 11:02}:{(call * 7 + user) % 60:02}:00Z,u{user},198.18.{user}.1,"
                        f"App {user % 2},Object{call % 3},{401 if call == 5 else 200},r{day}-{user}-{call}\n"
                    )


def sweep(what, files, command, flips):
    """Every file in turn, bits at random; files that are small are hit at every bit sooner than large ones."""
    codes, odd = collections.Counter(), []
    for number in range(flips):
        path = files[number % len(files)]
        with open(path, "rb") as file:
            good = file.read()
        bit = random.randrange(len(good) * 8)
        bad = bytearray(good)
        bad[bit // 8] ^= 1 << (bit % 8)
        with open(path, "wb") as file:
            file.write(bad)
        code, said = run(*command)
        codes[code] += 1
        if code != 7:
            odd.append(f"{path}, bit {bit}: exit {code}: {said.strip()}")
        with open(path, "wb") as file:
            file.write(good)
    size = sum(os.path.getsize(path) for path in files)
    print(f"{what}: {len(files)} files, {size} bytes, {flips} flips, exit codes {dict(sorted(codes.items()))}", flush=True)
    print("\n".join(odd[:10]), end="\n" if odd else "")
    return not odd


def below(folder):
    return sorted(
        os.path.join(at, name) for at, _, names in os.walk(folder) for name in names if name != ".lock" and "/nights/" not in at
    )


with tempfile.TemporaryDirectory() as folder:
    os.chdir(folder)
    archive("events.csv")
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", "key.pem"], check=True, stderr=subprocess.DEVNULL)
    subprocess.run(["openssl", "pkey", "-in", "key.pem", "-pubout", "-out", "key.pub"], check=True)
    os.chmod("key.pem", 0o600)
    model = ["--models", "models", "--name", "m"]
    must("features", "--events", "events.csv", "--profile", "generic", "--store", "all")
    must("train", "--store", "all", *model, "--set", "signing.key-file=key.pem", "--set", "fusion.geometry=1")
    with open("events.csv") as every:
        lines = every.readlines()
    with open("day.csv", "w") as one:
        one.writelines([lines[0], *(line for line in lines if line.startswith("2026-01-13"))])
    must("features", "--events", "day.csv", "--profile", "generic", "--store", "store")
    trusting = ["--set", "signing.trusted-keys=['key.pub']"]
    must("models", "verify", *model, *trusting)
    must("doctor", "--store", "store")
    sound = sweep("a version", below("models/m/versions"), ["models", "verify", *model, "--version", "1"], count // 2)
    sound &= sweep("its signature", below("models/m/signatures"), ["models", "verify", *model, *trusting], count // 20)
    sound &= sweep("a store", below("store"), ["doctor", "--store", "store"], count // 2)
    sys.exit(0 if sound else 1)
