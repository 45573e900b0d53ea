"""What an office PC is once the profiles `office-workplace` and `support-access` are applied to it.

Every test must fail on a host that nothing was applied to.
"""

import json
import stat


def test_language_and_time(host):
    assert host.file("/etc/default/locale").contains("^LANG=de_DE.UTF-8$")
    assert "de_DE.utf8" in host.check_output("locale -a").split()
    assert host.check_output("LC_ALL=de_DE.UTF-8 date -d 2026-03-01 +%B") == "März"
    assert host.check_output("date -d @0 +%Z%z") == "CET+0100"
    assert host.file("/etc/timezone").content_string == "Europe/Berlin\n"


def test_time_servers(host):
    assert host.package("systemd-timesyncd").is_installed
    assert host.service("systemd-timesyncd").is_enabled
    lines = host.file("/etc/systemd/timesyncd.conf").content_string.splitlines()
    section = lines.index("[Time]")
    assert "NTP=ptbtime1.ptb.de ptbtime2.ptb.de" in [line.replace(" = ", "=") for line in lines[section + 1 :]]


def test_kernel_and_accounts_are_careful(host):
    assert host.sysctl("net.ipv4.conf.all.accept_redirects") == 0
    assert host.check_output("sysctl --system 2>&1 | grep accept_redirects").endswith("= 0")
    assert host.check_output("grep -c '^UMASK' /etc/login.defs") == "1"
    assert host.check_output("awk '$1 == \"UMASK\" {print $2}' /etc/login.defs") == "027"


def test_environment_of_sessions(host):
    said = host.check_output("sed -n 's/^BROWSER=//p; s/^no_proxy=//p' /etc/environment")
    assert said.splitlines() == ["curl", "localhost,.example"]


def test_printing(host):
    assert host.package("cups-client").is_installed
    assert host.check_output("getent hosts print.example").split() == ["192.0.2.1", "print.example"]
    assert host.check_output("lpstat -H") == "print.example:631"
    assert host.file("/etc/cups/lpoptions").content_string.startswith("Default etage ")


def test_browser(host):
    assert host.package("curl").is_installed
    file = host.file("/etc/firefox/policies/policies.json")
    assert (file.mode, file.user) == (0o644, "root")
    homepage = json.loads(file.content_string)["policies"]["Homepage"]
    assert homepage["URL"] == "http://intranet.town.example/"


def test_share(host):
    share = host.mount_point("/srv/ablage")
    assert share.exists and share.filesystem == "tmpfs"
    assert {"nosuid", "nodev"} <= set(share.options)
    assert host.check_output("findmnt --fstab -no FSTYPE /srv/ablage") == "tmpfs"
    assert host.file("/etc/skel/Ablage").linked_to == "/srv/ablage"
    host.run_expect([0], "touch /srv/ablage/new && rm /srv/ablage/new")


def test_updates(host):
    timer = host.service("office-updates.timer")
    assert timer.is_enabled and timer.is_running
    said = host.check_output("systemctl show -p NextElapseUSecRealtime office-updates.timer")
    assert "2099" in said
    assert "/usr/bin/apt-get" in host.check_output("systemctl show -p ExecStart office-updates.service")


def test_support_may_log_in_and_do_everything(host):
    user = host.user("support")
    assert user.exists and user.group == "edv" and "adm" in user.groups and user.shell == "/bin/bash"
    keys = host.file(user.home + "/.ssh/authorized_keys")
    assert keys.user == "support" and not keys.mode & (stat.S_IWGRP | stat.S_IWOTH)
    assert keys.content_string.startswith('from="192.0.2.0/24" ssh-ed25519 ')
    assert host.file("/etc/sudoers.d/weiche-support").mode == 0o440
    host.run_expect([0], "visudo --check")
    assert host.check_output("runuser -u support -- sudo -n id -u") == "0"
