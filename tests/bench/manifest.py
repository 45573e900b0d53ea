#!/usr/bin/env python3
"""manifest.py AGENT [FILES]: how long the certificate of a big tree takes, and the agent's peak memory; prints JSON.

Makes FILES (200000) small files in 2000 directories below a temporary directory, lets AGENT list them with digests
(`witness`), compare them (`verify`), and compare once more after one file was changed.
"""
import json
import os
import sys
import tempfile
import time

from agent import Agent


def main():
    agent_path, files = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 200000
    with tempfile.TemporaryDirectory(prefix="weiche-manifest-") as top:
        root = os.path.join(top, "root")
        for n in range(files):
            directory = f"{root}/srv/{n % 40:02}/{n // 40 % 50:02}"
            if n < 2000:
                os.makedirs(directory)
            with open(f"{directory}/file-{n}.txt", "w") as file:
                file.write(f"content {n}\n" * (1 + n % 200))
        agent = Agent(agent_path, os.path.join(top, "state"), root)
        figures = {"files": files}
        def timed(name, request):
            begin = time.monotonic()
            reply, before = agent.ask(request)
            cpu, peak = agent.usage()
            figures[name] = {"wall_s": round(time.monotonic() - begin, 2), "cpu_s_so_far": round(cpu, 2), "peak_rss_mib": round(peak, 1)}
            return reply, before
        scope = {"steps": [], "listed": [], "watch": ["/srv"], "except": []}
        reply, _ = timed("take", {"witness": {"run": "bench", "scope": scope}})
        figures["manifest"] = reply["witnessed"]
        reply, _ = timed("verify", {"verify": {"run": "bench"}})
        assert reply["verified"]["differences"] == 0, reply
        with open(f"{root}/srv/07/07/file-{7 * 40 + 7}.txt", "a") as file:
            file.write("x")
        reply, told = timed("verify_one_changed", {"verify": {"run": "bench"}})
        assert reply["verified"]["differences"] == 1, reply
        figures["told"] = told[0]["difference"]["subject"]
        figures["manifest_bytes"] = os.path.getsize(f"{top}/state/runs/bench/manifest")
        agent.end()
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
