"""An agent driven over its own frames, for the benchmarks."""
import hashlib
import json
import os
import pathlib
import struct
import subprocess


class Agent:
    """An agent that works below a directory, asked over its own frames."""

    def __init__(self, path, state, root, *more):
        argv = [path, "serve", "--state", state, "--root", root, *more]
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

    def blob(self, run, content):
        """Sends a content ahead of a stage; returns what a spec calls it by."""
        blob = {"digest": hashlib.sha256(content).hexdigest(), "size": len(content)}
        payload = json.dumps({"blob": {"run": run, **blob}}).encode()
        self.process.stdin.write(struct.pack(">IB", len(payload), ord("J")) + payload)
        if content:
            self.process.stdin.write(struct.pack(">IB", len(content), ord("D")) + content)
        return blob

    def nanoseconds(self):
        """CPU time of the agent itself so far, its children's aside."""
        return int(pathlib.Path(f"/proc/{self.process.pid}/schedstat").read_text().split()[0])

    def usage(self):
        """CPU seconds and peak resident MiB so far."""
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(") ")[1].split()
        cpu = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return cpu, int(status.split("VmHWM:")[1].split()[0]) / 1024

    def end(self):
        self.process.stdin.close()
        self.process.wait()
