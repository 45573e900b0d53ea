#!/usr/bin/env python3
"""fleet.py FOLDER [KEY-EXCHANGE]: the kit's W1 as a Weiche fleet for the kit's current hosts.

30 resources a host: 5 directories, 20 templated files, 3 symlinks, 2 read-only checks. Handlebars does no arithmetic,
so there is one template a file, and what depends on the host's number comes as the host's parameters. Whether the
state is the peers' is not taken on trust: the bench compares digests after every first apply.
"""
import getpass
import json
import os
import pathlib
import sys

run, hosts = pathlib.Path(os.environ["PB_RUN"]), os.environ["PB_HOSTS"]
fleet = pathlib.Path(sys.argv[1])
kex = sys.argv[2] if len(sys.argv) > 2 else None
q = json.dumps      # a JSON string is a YAML string


def put(path, text):
    f = fleet / path
    f.parent.mkdir(parents=True, exist_ok=True)
    f.write_text(text)


TEMPLATE = """\
# app N on {{host.name}}
[server]
name = {{host.name}}-appN
listen = {{host.address}}:PORT
workers = {{workers}}
role = {{role}}
root = {{root}}/dDIR

[limits]
max_connections = {{mNN}}
timeout_seconds = TIMEOUT
buffer_kib = BUFFER

[logging]
level = LEVEL
file = {{root}}/log/appN.log
rotate = daily
keep = 14

[features]
alpha = {{alphaN3}}
beta = {{betaN5}}
tags = web,edge,{{host.name}},nN
"""

resources = [f'directory: {{ path: "{{{{root}}}}/d{d}", mode: "0755" }}' for d in range(1, 6)]
for n in range(1, 21):
    d = (n - 1) % 5 + 1
    text = TEMPLATE
    for k, v in (("PORT", 8000 + n), ("DIR", d), ("TIMEOUT", 30 + n), ("BUFFER", 64 * (n % 3 + 1)), ("mNN", f"m{n:02d}"),
                 ("LEVEL", "info" if n % 7 else "debug"), ("N3", n % 3), ("N5", n % 5), ("N", n)):
        text = text.replace(k, str(v))
    put(f"files/app{n:02d}.conf.hbs", text)
    resources.append(f'file: {{ path: "{{{{root}}}}/d{d}/app{n:02d}.conf", template: app{n:02d}.conf.hbs, mode: "0644" }}')
for k in range(1, 4):
    resources.append(f'symlink: {{ path: "{{{{root}}}}/current{k}", target: "d{k}/app{k:02d}.conf" }}')
for argv in (["true"], ["id", "-u"]):       # the check is `unless`: it runs on the host every time, and passes
    resources.append(f'command: {{ argv: {q(argv)}, unless: {q(argv)}, undo: ["true"] }}')


def parameters(name, i):
    p = {"root": f"{hosts}/{name}/root", "workers": i % 4 + 1, "role": "primary" if i % 2 else "replica"}
    p |= {f"m{n:02d}": 100 * n + i for n in range(1, 21)}
    p |= {f"alpha{k}": "off" if (k + i) % 3 else "on" for k in range(3)}
    p |= {f"beta{k}": "off" if (k + i) % 5 else "on" for k in range(5)}
    return {k: str(v) for k, v in p.items()}


names = (run / "hosts.txt").read_text().split()
key = " ".join((run / "host_key.pub").read_text().split()[:2])
net, port = os.environ["PB_NET"], os.environ["PB_PORT"]
prefer = f", key_exchange: [{kex}]" if kex else ""
put("weiche.yaml", f"""\
fleet: bench
timezone: Europe/Berlin
ssh: {{ user: {getpass.getuser()}, identity: {q(str(run / "user_key"))}, become: none{prefer} }}
agent: {{ directory: .weiche }}
limits: {{ connections: {os.environ["PB_PARALLEL"]} }}
""")
put("profiles/w1.yaml", "profile: w1\nparameters:\n"
    + "".join(f"  {p}: {{ type: string }}\n" for p in parameters("h", 0))
    + "resources:\n" + "".join(f"  - {r}\n" for r in resources))
put("members/bench.yaml", "member: bench\nname: Bench\nservers:\n" + "".join(
    f"  - name: {name}\n    address: {net}.{int(name[1:])}\n    port: {port}\n    host_key: {q(key)}\n    profile: w1\n"
    "    parameters: { " + ", ".join(f"{k}: {q(v)}" for k, v in parameters(name, int(name[1:])).items()) + " }\n"
    for name in names))
