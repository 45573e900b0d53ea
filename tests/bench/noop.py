#!/usr/bin/env python3
"""noop.py AGENT: what looking at a converged profile of 300 resources costs the agent, in all and by kind; prints JSON.

The host is a temporary directory. Package and unit programs are simulated, so their own cost is not in these figures
(on a real host `dpkg-query` and `systemctl show` take it). CPU time is the agent's own, from /proc/PID/schedstat;
median, least and greatest of 15 looks.
"""
import json
import os
import statistics
import sys
import tempfile

from agent import Agent

RUN = "bench"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"


def specs(agent):
    """Kind and spec of 300 resources, in the order in which they can be carried out."""
    text = lambda n: f"# managed, part {n}\n".encode() * 20
    for n in range(10):
        yield "group", {"name": f"amt{n}"}
    for n in range(10):
        yield "user", {"name": f"user{n}", "group": f"amt{n}", "home": f"/srv/user{n}"}
    for n in range(30):
        yield "directory", {"path": f"/srv/dir{n}", "mode": "0750"}
    for n in range(100):
        yield "file", {"path": f"/etc/app{n}.conf", "blob": agent.blob(RUN, text(n)), "mode": "0644"}
    for n in range(20):
        yield "symlink", {"path": f"/srv/link{n}", "target": f"dir{n}"}
    for n in range(30):
        yield "line", {"path": "/etc/lines.conf", "line": f"option{n} = on", "replaces": f"option{n} ", "create": "0644"}
    for n in range(20):
        yield "block", {"path": f"/etc/app{n}.d", "name": f"part{n}", "text": "one\ntwo\n", "create": "0644"}
    for n in range(25):
        yield "ini", {"path": "/etc/service.ini", "section": f"s{n % 5}", "key": f"key{n}", "value": "1", "create": "0644"}
    for n in range(10):
        yield "hosts_entry", {"address": f"192.0.2.{n + 1}", "names": [f"host{n}.example"]}
    for n in range(10):
        yield "cron", {"name": f"job{n}", "schedule": "15 3 * * *", "user": "root", "command": "/usr/local/bin/job"}
    for n in range(20):
        yield "package", {"name": f"tool{n}"}
    yield "package", {"name": "nginx"}
    for n in range(4):
        entries = {f"page{m}.html": {"file": {**agent.blob(RUN, text(m)), "executable": False}} for m in range(10)}
        yield "tree", {"path": f"/srv/web{n}", "source": "web", "entries": entries}
    for n in range(5):
        yield "sysctl", {"key": f"net.ipv4.bench{n}", "value": "1"}
    yield "timezone", {"name": "Europe/Berlin"}
    yield "unit", {"name": "nginx", "enabled": True, "running": True}
    for n in range(3):
        yield "authorized_key", {"user": f"user{n}", "key": f"{KEY} someone@example.org"}


def seed(root):
    for path in ["etc/cron.d", "etc/sysctl.d", "srv", "usr/share/zoneinfo/Europe", "proc/sys/net/ipv4", "var/lib", "tmp",
                 "lib/systemd/system", "etc/systemd/system"]:
        os.makedirs(f"{root}/{path}")
    files = {
        "etc/passwd": "root:x:0:0:root:/root:/bin/bash\n", "etc/group": "root:x:0:\n", "etc/shadow": "root:*:1:0:9:7:::\n",
        "etc/gshadow": "root:*::\n", "etc/hosts": "127.0.0.1 localhost\n", "usr/share/zoneinfo/Europe/Berlin": "TZif",
        "etc/os-release": "ID=debian\nVERSION_ID=\"12\"\n",
    }
    for n in range(5):
        files[f"proc/sys/net/ipv4/bench{n}"] = "0\n"
    for n in range(3):
        os.makedirs(f"{root}/srv/user{n}")
    for path, text in files.items():
        with open(f"{root}/{path}", "w") as file:
            file.write(text)


def main():
    with tempfile.TemporaryDirectory(prefix="weiche-noop-") as top:
        root = os.path.join(top, "root")
        seed(root)
        agent = Agent(sys.argv[1], os.path.join(top, "state"), root, "--simulate")
        steps = [{"id": f"s.{n}", "kind": kind, "spec": spec, "timeout_ms": 60000}
                 for n, (kind, spec) in enumerate(specs(agent))]
        reply, events = agent.ask({"stage": {"run": RUN, "steps": steps}})
        assert reply == {"stage_end": {"ok": True}}, [reply] + events[-2:]

        def look(part):
            before = agent.nanoseconds()
            reply, _ = agent.ask({"observe": {"steps": part}})
            spent = (agent.nanoseconds() - before) / 1e6
            for seen in reply["observed"]:
                assert seen["result"]["Ok"]["state"] == seen["result"]["Ok"]["wanted"], seen
            return spent

        def figures(part):
            spent = [look(part) for _ in range(15)]
            return {"resources": len(part), "cpu_ms": [round(f(spent), 2) for f in (statistics.median, min, max)]}

        result = {"all": figures(steps), "by_kind": {}}
        for kind in dict.fromkeys(step["kind"] for step in steps):
            result["by_kind"][kind] = figures([step for step in steps if step["kind"] == kind])
        agent.end()
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
