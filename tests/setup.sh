#!/bin/sh
# Installs what the tests that use real components need, on Debian 12. Run it as often as you like.
#
# As root it installs the missing packages, and starts no service while doing so. As any other user it only says
# what is missing and succeeds: the tests that need it then say themselves that they were skipped.
set -eu

# package:what it brings (a file, or a command looked up in PATH and in the sbin directories)
needed='
acl:getfacl
apt-utils:apt-ftparchive
attr:getfattr
btrfs-progs:mkfs.btrfs
createrepo-c:createrepo_c
debian-archive-keyring:/usr/share/keyrings/debian-archive-keyring.gpg
debootstrap:debootstrap
dnf:dnf
dpkg-dev:dpkg-scanpackages
e2fsprogs:mkfs.ext4
faketime:faketime
gnupg:gpg
iproute2:ip
libcap2-bin:setcap
libxml2-utils:xmllint
mount:mount
mtree-netbsd:mtree
nftables:nft
openssh-client:ssh
openssh-server:sshd
python3-icalendar:/usr/lib/python3/dist-packages/icalendar
prometheus:promtool
python3-jsonschema:/usr/lib/python3/dist-packages/jsonschema
python3-junitparser:/usr/lib/python3/dist-packages/junitparser
python3-pytest:/usr/lib/python3/dist-packages/pytest
python3-testinfra:/usr/lib/python3/dist-packages/testinfra
rpm:rpmbuild
rsync:rsync
sudo:sudo
systemd-container:systemd-nspawn
util-linux:nsenter
xfsprogs:mkfs.xfs
'

PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
missing=
for line in $needed; do
    package=${line%%:*} brings=${line#*:}
    case $brings in
    /*) [ -e "$brings" ] || missing="$missing $package" ;;
    *) command -v "$brings" >/dev/null || missing="$missing $package" ;;
    esac
done

[ -n "$missing" ] || exit 0

if [ "$(id -u)" -ne 0 ]; then
    echo "setup: missing, and only root can install it:$missing" >&2
    exit 0
fi

if ! command -v apt-get >/dev/null; then
    echo "setup: missing, and this is not a Debian system:$missing" >&2
    exit 1
fi

# A machine that runs tests must not suddenly offer ssh: forbid service starts while packages are installed
# (invoke-rc.d asks /usr/sbin/policy-rc.d), and put the machine's own policy back whatever happens.
policy=/usr/sbin/policy-rc.d
had_sshd=$(command -v sshd || true)
restore() {
    rm -f "$policy"
    [ ! -e "$policy.weiche" ] || mv "$policy.weiche" "$policy"
}
if [ -e "$policy" ] && ! grep -q weiche-tests "$policy"; then
    mv "$policy" "$policy.weiche"
fi
trap restore EXIT
trap 'exit 1' HUP INT TERM
printf '#!/bin/sh\n# weiche-tests: only while packages are installed\nexit 101\n' >"$policy"
chmod 755 "$policy"

export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
# shellcheck disable=SC2086 # a list of package names
apt-get install -y -qq --no-install-recommends $missing >/dev/null

# The policy stops the start now; this stops the one at the next boot, for an sshd that only we brought.
if [ -z "$had_sshd" ] && command -v systemctl >/dev/null; then
    systemctl disable ssh.service ssh.socket >/dev/null 2>&1 || true
fi
