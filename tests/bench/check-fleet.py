#!/usr/bin/env python3
"""check-fleet.py FOLDER [DEVICES]: writes a fleet of many devices (10,000) for measuring `weiche check`.

Fifty member administrations; of twenty devices one is a server, seventeen are PCs and two are printers. Every device
has its own address, serial number and lease, servers and PCs have profiles with parameters.
"""
import json
import pathlib
import sys

fleet = pathlib.Path(sys.argv[1])
devices = int(sys.argv[2]) if len(sys.argv) > 2 else 10_000
MEMBERS = 50
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIL8UO8nVTjOVZyV9V1q6bS4NEHnNN1v6CMMbyoFxJ1l5"


def put(path, text):
    file = fleet / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


put("weiche.yaml", "fleet: large\ntimezone: Europe/Berlin\nssh: { user: weiche, identity: agent }\n")
put("profiles/server.yaml", """\
profile: server
parameters:
  port: { type: int, default: 443 }
resources:
  - directory: { path: /srv/data, mode: "0750" }
  - file: { path: /etc/motd, content: "{{host.name}} listens on {{port}}\\n" }
""")
put("profiles/workplace.yaml", """\
profile: workplace
parameters:
  room: { type: string }
resources:
  - package: { name: libreoffice }
  - file: { path: /etc/room, content: "{{room}}\\n" }
""")
for m in range(1, MEMBERS + 1):
    kinds = {"servers": [], "pcs": [], "printers": []}
    for d in range(devices // MEMBERS):
        address = f"10.{m}.{d // 250}.{d % 250 + 1}"
        common = f"serial: SN{m:03d}{d:05d}"
        lease = f"lease: {{ contract: L-{m}-{d // 100}, ends: 2029-06-30 }}"
        if d % 20 == 0:
            kinds["servers"].append(f"  - {{ name: srv-{d:04d}, address: {address}, host_key: {json.dumps(KEY)}, {common}, "
                                    f"site: rathaus, profile: server, parameters: {{ port: {8000 + d % 1000} }} }}\n")
        elif d % 20 < 18:
            kinds["pcs"].append(f"  - {{ name: pc-{d:04d}, address: {address}, host_key: {json.dumps(KEY)}, {common}, {lease}, "
                                f"site: rathaus, profile: workplace, parameters: {{ room: R{d % 97} }} }}\n")
        else:
            kinds["printers"].append(f"  - {{ name: pr-{d:04d}, site: rathaus, floor: {d % 4}, colour: {str(d % 3 == 0).lower()}, "
                                     f"duplex: true, pages_per_month: {100 + d % 900} }}\n")
    put(f"members/m{m:02d}.yaml", f"member: m{m:02d}\nname: Verbandsgemeinde {m}\nsites: {{ rathaus: {{ address: Platz 1 }} }}\n"
        + "".join(f"{kind}:\n{''.join(items)}" for kind, items in kinds.items()))
