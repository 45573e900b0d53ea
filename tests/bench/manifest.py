#!/usr/bin/env python3
"""manifest.py AGENT [FILES]: how long the certificate of a big tree takes, and the agent's peak memory; prints JSON.

Makes FILES (200000) small files in 2000 directories below a temporary directory, lets AGENT list them with digests
(`witness`), compare them (`verify`), and compare once more after one file was changed.
"""
import json
import os
import pathlib
import struct
import subprocess
import sys
import tempfile
import time


class Agent:
    """An agent that works below a directory, asked over its own frames."""

    def __init__(self, path, state, root):
        argv = [path, "serve", "--state", state, "--root", root]
        self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.process.stdout.readline()

    def ask(self, message, more=("difference", "event", "entries")):
        """Sends a request; returns the reply that ends it, and the replies before."""
        payload = json.dumps(message).encode()
        self.process.stdin.write(struct.pack(">IB", len(payload), ord("J")) + payload)
        self.process.stdin.flush()
        before = []
        while True:
            length, _ = struct.unpack(">IB", self.process.stdout.read(5))
            reply = json.loads(self.process.stdout.read(length))
            if isinstance(reply, dict) and next(iter(reply)) in more:
                before.append(reply)
            else:
                return reply, before

    def usage(self):
        """CPU seconds and peak resident MiB so far."""
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(") ")[1].split()
        cpu = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return cpu, int(status.split("VmHWM:")[1].split()[0]) / 1024

    def end(self):
        self.process.stdin.close()
        self.process.wait()


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
