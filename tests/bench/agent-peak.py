#!/usr/bin/env python3
"""agent-peak.py PHASE HOSTS-FOLDER CMD...: run CMD; print, as JSON, the agent's size and peak memory on the hosts.

The agent is whatever runs from below the hosts' folder, or in a session there from a file (or memfd) called weiche*.
It is short-lived, so /proc is read as fast as it goes; VmHWM is the kernel's own peak, only its last step can be missed.
"""
import json
import os
import pathlib
import re
import subprocess
import sys

phase, hosts, cmd = sys.argv[1], sys.argv[2].rstrip("/") + "/", sys.argv[3:]


def pids():
    return {p for p in os.listdir("/proc") if p.isdigit()}


def is_agent(pid):
    exe = os.readlink(f"/proc/{pid}/exe")
    if exe.startswith(hosts):
        return True
    return ("weiche" in os.path.basename(exe)
            and f"HOME={hosts}".encode() in pathlib.Path(f"/proc/{pid}/environ").read_bytes())


old, seen = pids(), {}
with open(os.environ.get("AGENT_PEAK_LOG", os.devnull), "wb") as log:
    p = subprocess.Popen(cmd, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    while p.poll() is None:
        for pid in pids() - old:
            try:
                if is_agent(pid):
                    status = pathlib.Path(f"/proc/{pid}/status").read_text()
                    kib = dict(re.findall(r"^(VmHWM|RssAnon):\s+(\d+) kB", status, re.M))
                    was = seen.get(pid, (0, 0))
                    seen[pid] = (max(was[0], int(kib.get("VmHWM", 0))), max(was[1], int(kib.get("RssAnon", 0))))
            except OSError:
                pass        # gone meanwhile
files = [f.stat().st_size for f in pathlib.Path(hosts).glob("*/home/.weiche/**/*") if f.is_file() and os.access(f, os.X_OK)]
mib = lambda i: round(max((v[i] for v in seen.values()), default=0) / 1024, 2) or None
print(json.dumps({"phase": phase, "rc": p.returncode, "agent_bytes": max(files, default=None), "processes": len(seen),
                  "peak_rss_mib": mib(0), "peak_anon_mib": mib(1)}))
