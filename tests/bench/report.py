#!/usr/bin/env python3
"""report.py RESULTS-FOLDER: tables of one bench run. Exit 1 when a run failed or two tools reached different states."""
import collections
import json
import pathlib
import statistics
import sys

res = pathlib.Path(sys.argv[1])


def lines(name):
    f = res / name
    return f.read_text().splitlines() if f.exists() else []


rows = [json.loads(l) for l in lines("results.jsonl")]
kex = {}
for l in lines("kex.txt"):
    tool, _, name = l.partition(" ")
    kex[tool.replace("-sample", "")] = name.split("@")[0] or "?"        # NAME and NAME@openssh.com, NAME@libssh.org are the same exchange

# A run of 5 of the 30 tasks, extended to all: what is not a task, the first task (it pays for the connections) once,
# then each kind's own round times its number. Its CPU says nothing about the whole.
COUNT = {"dir": 4, "conf": 20, "link": 3, "check": 2}


def wall(r):
    if "-sample" not in r["tool"]:
        return r["wall"]
    rounds = [json.loads(l) for l in lines(f"logs/{r['tool']}-{r['phase']}-n{r['n']}-r{r['rep']}.tasks")]
    rest = r["wall"] - sum(t["s"] for t in rounds)
    return rest + rounds[0]["s"] + sum(t["s"] * COUNT[t["task"].split()[0]] for t in rounds[1:])


cell, order, floor = collections.defaultdict(list), [], {}
for r in rows:
    if r["rc"]:
        continue
    n = int(r["n"])
    cell[n, r["phase"], r["tool"]].append(r)
    if r["phase"] == "true":
        floor[n, r["tool"], r["rep"]] = r["wall"]
    if r["tool"] not in order:
        order.append(r["tool"])


def base(tool):
    return tool.replace("-sample", "")


def floor_of(tool):
    """The floor with the tool's own key exchange, else (marked) the default one."""
    for f in ("ssh", "ssh-curve25519"):
        if kex.get(f, "?") != "?" and kex.get(base(tool)) == kex[f]:
            return f, ""
    return "ssh", "*"


def fmt(v, d=2):
    return "-" if v is None else f"{v:.{d}f}" if v < 100 else f"{v:.0f}"


def med(rs, f):
    v = [x for x in map(f, rs) if x is not None]
    return statistics.median(v) if v else None


print("\n# Bench\n")
for l in lines("about.txt"):
    print(f"- {l}")
marked = False
for n in sorted({k[0] for k in cell}):
    for phase, title in (("true", "ssh HOST true, the floor"), ("first", "first apply, bare hosts"),
                         ("redeploy", "first apply again, agent in place"), ("second", "second apply, nothing to change"),
                         ("check", "dry run, nothing to change"), ("facts", "facts (each tool its own set)"),
                         ("fleet", "weiche check of a fleet of so many devices (no hosts)")):
        tools = [t for t in order if (n, phase, t) in cell]
        if not tools:
            continue
        print(f"\n## N={n}: {title}\n")
        print("| tool | key exchange | wall s: median [min..max] | x `ssh true` | ctl CPU s | hosts CPU s "
              "| ctl peak MiB | largest process MiB |\n|---|---|---|---|---|---|---|---|")
        for t in tools:
            rs, part = cell[n, phase, t], "-sample" in t
            w = [wall(r) for r in rs]
            f, mark = floor_of(t)
            pairs = [wall(r) / floor[n, f, r["rep"]] for r in rs if (n, f, r["rep"]) in floor]
            marked |= bool(pairs and mark)
            print(f"| {base(t)} | {kex.get(base(t), '?')} | "
                  f"{'~' if part else ''}{fmt(statistics.median(w))} [{fmt(min(w))}..{fmt(max(w))}] | "
                  + (fmt(statistics.median(pairs)) + mark if pairs else "-")
                  + f" | {'-' if part else fmt(med(rs, lambda r: r['ctl_user'] + r['ctl_sys']))}"
                  + f" | {'-' if part else fmt(med(rs, lambda r: r['remote_cpu']))}"
                  + f" | {fmt(med(rs, lambda r: r['peak_mib']), 1)} | {fmt(med(rs, lambda r: r['peak_proc_mib']), 1)} |")

print("\nx `ssh true`: against the floor with the same key exchange, pair by pair within a repetition, median."
      + (" *: no floor with that key exchange, against `ssh`." if marked else ""))
print("~: 5 of the 30 tasks ran, extended to 30. Peaks: memory of all the controller's processes, sampled every 50 ms"
      " (shorter runs: see the largest process).")
print("OpenSSH's own client and server wait on each other (Nagle's algorithm and delayed ACKs) during a connection, so"
      " wall at N=1\nis mostly waiting and a tool without that wait can read below 1; with many hosts the waits overlap.")

for a in map(json.loads, lines("agent.jsonl")):
    size = f"{a['agent_bytes'] / 2**20:.2f} MiB" if a["agent_bytes"] else "not found"
    peak = (f"peak memory on the host {a['peak_rss_mib']} MiB resident, {a['peak_anon_mib']} MiB of it anonymous"
            if a["peak_rss_mib"] else "not seen running")
    print(f"\nagent ({a['phase']}): file {size}, {peak}{'' if a['rc'] == 0 else ' (run FAILED)'}")

ok = bool(rows)
print("\nstates after a first apply (paths, modes, contents, links; equal work has equal digests):")
digests = collections.defaultdict(lambda: collections.defaultdict(set))
for l in lines("manifests.txt"):
    n, tool, _, _, count, digest = l.split()
    digests[int(n)][f"{count} {digest}"].add(tool)
for n, by in sorted(digests.items()):
    ok &= len(by) == 1
    for d, tools in by.items():
        print(f"- N={n}: {d}  {' '.join(t for t in order if t in tools)}{'' if len(by) == 1 else '  DIFFERS'}")
bad = [r for r in rows if r["rc"]]
print(f"\nruns: {len(rows)}, failed: {len(bad)}; raw: {res}")
for r in bad:
    print(f"- failed: {r['tool']} {r['phase']} N={r['n']} rep {r['rep']} rc {r['rc']}")
sys.exit(0 if ok and not bad else 1)
