"""What the profile `town-server` makes of a host, in words of its own; see test_base.py."""

import re

import pytest

SHARE = "/srv/files"


@pytest.mark.parametrize("name", ["samba", "cups", "nginx", "postgresql", "locales", "cron"])
def test_packages(host, name):
    assert host.package(name).is_installed


@pytest.mark.parametrize("name", ["smbd", "cups", "nginx", "postgresql", "cron", "queue-drucker"])
def test_services(host, name):
    service = host.service(name)
    assert service.is_running
    assert service.is_enabled


@pytest.mark.parametrize("port", [22, 80, 443, 445, 631])
def test_listens_for_others(host, port):
    assert host.socket(f"tcp://0.0.0.0:{port}").is_listening


def test_database_listens_for_itself_only(host):
    assert host.socket("tcp://127.0.0.1:5432").is_listening
    assert not host.socket("tcp://0.0.0.0:5432").is_listening


def test_name_and_clock_and_language(host):
    assert host.check_output("hostname") == "srv"
    assert host.check_output("hostname --fqdn") == "srv.town.example"
    assert host.check_output("getent hosts drucker").split() == ["192.0.2.9", "drucker.town.example", "drucker"]
    assert host.check_output("readlink -f /etc/localtime") == "/usr/share/zoneinfo/Europe/Berlin"
    assert host.check_output("TZ= date --date='2026-07-01 12:00 UTC' +%H") == "12"
    assert host.check_output("unset TZ; date --date='2026-07-01 12:00 UTC' +%H") == "14"
    assert "de_DE.utf8" in host.check_output("locale -a").split()
    assert 'LANG=de_DE.UTF-8' in host.file("/etc/default/locale").content_string.replace('"', "")
    assert host.check_output("LC_ALL=de_DE.UTF-8 date --date=2026-03-01 +%B") == "März"


def test_kernel(host):
    assert host.sysctl("net.ipv4.tcp_keepalive_time") == 600
    own = "/etc/sysctl.d/60-weiche-net.ipv4.tcp_keepalive_time.conf"
    assert "600" in host.file(own).content_string


def test_technicians_may_log_in(host):
    user = host.user("technik")
    assert user.shell == "/bin/bash" and user.home == "/home/technik" and user.group == "technik"
    home, keys = host.file("/home/technik"), host.file("/home/technik/.ssh/authorized_keys")
    assert (home.user, home.group, home.mode) == ("technik", "technik", 0o750)
    assert (keys.user, keys.mode) == ("technik", 0o600)
    assert "frida@town.example" in keys.content_string
    assert host.file("/home/technik/.ssh").mode == 0o700


def test_shares(host):
    directory = host.file(SHARE)
    assert (directory.user, directory.group, directory.mode) == ("root", "verwaltung", 0o2770)
    assert host.file("/srv/ablage").linked_to == SHARE
    assert host.user("scan").group == "verwaltung"
    said = host.run("testparm -s").stdout
    assert re.search(r"workgroup = RATHAUS", said)
    sections = re.findall(r"^\[(.+)\]$", said, re.M)
    assert sections == ["global", "ablage", "scratch"]
    assert f"path = {SHARE}" in said and "force group = verwaltung" in said


def test_a_scan_reaches_the_share(host):
    """With a password of its own, which goes again."""
    assert host.run("printf 'x\nx\n' | smbpasswd -s -a scan").rc == 0
    try:
        put = host.run("smbclient //127.0.0.1/ablage -U scan%x -c 'put /etc/hostname scan.txt; ls'")
        assert put.rc == 0 and "scan.txt" in put.stdout, put.stdout + put.stderr
        scan = host.file(f"{SHARE}/scan.txt")
        assert (scan.user, scan.group) == ("scan", "verwaltung")
        assert scan.mode & 0o007 == 0
        assert host.run("smbclient //127.0.0.1/ablage -N -c ls").rc != 0
    finally:
        host.run(f"rm -f {SHARE}/scan.txt; smbpasswd -x scan")


def test_scratch_is_in_memory(host):
    mount = host.mount_point("/srv/scratch")
    assert mount.exists and mount.filesystem == "tmpfs"
    assert {"nosuid", "nodev", "noexec"} <= set(mount.options)
    assert host.check_output("findmnt --fstab --noheadings --output FSTYPE /srv/scratch") == "tmpfs"
    assert host.file("/srv/scratch").mode == 0o1777
    job = host.file("/etc/cron.d/weiche-scratch").content_string
    assert re.search(r"^15 4 \* \* \* root find /srv/scratch ", job, re.M)


def test_printing(host):
    assert "drucker" in host.check_output("lpstat -a")
    assert "ipp://drucker.town.example/ipp/print" in host.check_output("lpstat -v drucker")
    assert host.run("/usr/sbin/cupsd -t").rc == 0


def test_database(host):
    ask = "runuser -u postgres -- psql -XAtc %s"
    assert host.check_output(ask, "SHOW max_connections") == "50"
    role = host.check_output(ask, "SELECT rolcanlogin, rolsuper, rolconnlimit FROM pg_roles WHERE rolname = 'intranet'")
    assert role == "t|f|20"
    owner = "SELECT pg_get_userbyid(datdba), pg_encoding_to_char(encoding) FROM pg_database WHERE datname = 'intranet'"
    assert host.check_output(ask, owner) == "intranet|UTF8"
    assert host.check_output("runuser -u intranet -- psql -XAt intranet -c 'SELECT current_user'") == "intranet"


def test_backup(host):
    assert host.service("database-backup.timer").is_enabled
    assert host.check_output("systemctl is-active database-backup.timer") == "active"
    assert host.run("systemctl start database-backup.service").rc == 0
    copy = host.file("/srv/backup/intranet.dump")
    assert copy.user == "postgres" and copy.size > 0
    host.run("rm /srv/backup/intranet.dump")


def test_intranet(host):
    get = "exec 3<>/dev/tcp/127.0.0.1/80; printf 'GET / HTTP/1.0\\r\\n\\r\\n' >&3; cat <&3"
    assert "301 Moved" in host.check_output("bash -c %s", get)
    over_tls = "printf 'GET %s HTTP/1.0\\r\\n\\r\\n' | openssl s_client -quiet -verify_return_error " \
        "-verify_hostname intranet.example -CAfile /etc/ssl/intranet.pem -connect 127.0.0.1:443"
    def page(path):
        said = host.run(over_tls.replace("%s", path))
        assert said.rc == 0, said.stderr
        return said.stdout
    assert "<h1>Lab</h1>" in page("/")
    assert "Sprechzeiten" in page("/seiten/amt/zeiten.html")
    assert "404 Not Found" in page("/seiten/alt.html")
    key = host.file("/etc/ssl/private/intranet.key")
    assert (key.user, key.group, key.mode) == ("root", "www-data", 0o640)
    assert not host.file("/etc/nginx/sites-enabled/default").exists


def test_firewall(host):
    rules = host.check_output("nft list ruleset")
    assert "policy drop" in rules
    assert re.search(r"tcp dport 22 accept", rules)
    assert re.search(r"192\.0\.2\.0/24 tcp dport \{ 80, 443, 445, 631 \} accept", rules)
    assert host.service("nftables").is_enabled
