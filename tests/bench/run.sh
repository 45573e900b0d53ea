#!/usr/bin/env bash
# run.sh: Weiche beside its peers (`make bench`): the same work, the same simulated hosts, the same clock.
#
# The hosts, the peers and the measuring come from the peer bench kit; this driver adds Weiche and the second key
# exchange. It starts sshd on loopback addresses only, and stops what it started, however it ends.
#
#   PEERBENCH      the kit's folder (required; once before: PEERBENCH_DIR=... $PEERBENCH/setup.sh)
#   PEERBENCH_DIR  work folder, ${TMPDIR:-/tmp}/weiche-bench (short: unix sockets live below it)
#   PB_VENV        where the kit's set-up installed the peers, $PEERBENCH_DIR/venv
#   WEICHE         the binary, target/release/weiche of this repository
#   SIZES REPS     "1 10 50", 3
#   TOOLS PHASES   what to measure, see below; every tool the kit's tool.sh knows may be named, and NAME-curve25519
#                  is kit tool NAME with its ssh held to that key exchange
#   SAMPLE_FROM    from this number of hosts on Ansible and mitogen run 5 of their 30 tasks, extended to 30 (~), 10
#   KEEP           1: keep the generated hosts, keys and fleets
#
# Phases: true (floor) | first (bare host; Weiche: its agent is not there yet either) | redeploy (Weiche only: the
# work is gone, the agent is there) | second (nothing to change) | check (dry run) | facts. Last, `weiche check` of a
# generated fleet of 10,000 devices, without hosts.
# Exit: 0 measured, 1 a run failed or states differ, 2 cannot run.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
repo="$(cd "$here/../.." && pwd)"

if [ -z "${PEERBENCH:-}" ]; then
    echo "skipped: peers (PEERBENCH is not set)"
    echo "usage: PEERBENCH=/path/to/kit [PEERBENCH_DIR=/short/path] [SIZES='1 10 50'] [REPS=3] [TOOLS='...'] $0" >&2
    exit 2
fi
for f in env.sh up.sh down.sh reset.sh tool.sh measure.py manifest.py; do
    [ -r "$PEERBENCH/$f" ] || { echo "PEERBENCH=$PEERBENCH: no $f there, not the kit" >&2; exit 2; }
done
export PEERBENCH_DIR="${PEERBENCH_DIR:-${TMPDIR:-/tmp}/weiche-bench}"
export PB_RESULTS="${PB_RESULTS:-$PEERBENCH_DIR/results/$(date +%Y%m%d-%H%M%S)}"   # one folder a bench run
. "$PEERBENCH/env.sh"
WEICHE="${WEICHE:-$repo/target/release/weiche}"
SIZES="${SIZES:-1 10 50}" REPS="${REPS:-3}" SAMPLE_FROM="${SAMPLE_FROM:-10}"
TOOLS="${TOOLS:-ssh ssh-curve25519 script script-curve25519 weiche weiche-default-kex pyinfra mitogen ansible}"
PHASES="${PHASES:-first redeploy second check facts}"
fleets="$PEERBENCH_DIR/fleet" view="$PEERBENCH_DIR/c25519"
sshd=/usr/sbin/sshd; [ -x $sshd ] || sshd="$(command -v sshd || true)"
for t in ssh ssh-keygen xargs flock python3 "${sshd:-sshd}"; do
    command -v "$t" >/dev/null || { echo "missing: $t" >&2; exit 2; }
done
mkdir -p "$PB_RESULTS/logs"
exec 9>"$PEERBENCH_DIR/lock"
flock -n 9 || { echo "another bench runs in $PEERBENCH_DIR" >&2; exit 2; }

# --- what was started, and its end ------------------------------------------------------------------------------

export WEICHE_BENCH="$$-$RANDOM$RANDOM"      # marks in the environment whatever this run starts
end_ours() {  # REGEX: end, by pid, the processes with such a variable in their environment
    local sig pids
    for sig in TERM TERM TERM KILL; do
        pids="$(cd /proc && env -u WEICHE_BENCH grep -lszxE -- "$1" [0-9]*/environ | cut -d/ -f1 || true)"
        [ -n "$pids" ] || return 0
        # shellcheck disable=SC2086
        kill "-$sig" $pids 2>/dev/null || true
        sleep 0.3
    done
}
cleanup() {
    local rc=$?
    trap - EXIT; trap '' INT TERM HUP
    end_ours "WEICHE_BENCH=$WEICHE_BENCH"                   # controllers: they lead sessions of their own
    "$PB_KIT/down.sh" >/dev/null || true                    # the sshds
    end_ours "HOME=$PB_HOSTS/[^/]+/home"                    # what a session may have left on a host
    [ "${KEEP:-0}" = 1 ] || rm -rf "$fleets" "$view" "$PB_RUN" "$PB_HOSTS"
    exit "$rc"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
run() { "$@" 9>&- & wait $!; }    # in the background, so that a signal is heard at once

# --- tools ------------------------------------------------------------------------------------------------------

missing() {  # TOOL: prints why it cannot run; silent when it can
    case "$1" in
    weiche|weiche-default-kex) [ -x "$WEICHE" ] || echo "not built: $WEICHE" ;;
    ssh|ssh-curve25519) ;;
    script|script-curve25519) [ -n "$jinja" ] || echo "not installed" ;;    # its generator renders with Jinja
    pyinfra-curve25519) echo "does not use ssh" ;;
    pyinfra*) [ -x "$PB_VENV/bin/pyinfra" ] || echo "not installed" ;;
    ansible*) [ -x "$PB_VENV/bin/ansible-playbook" ] || echo "not installed" ;;
    mitogen*) "$PB_VENV/bin/python" -c 'import ansible_mitogen' 2>/dev/null || echo "not installed" ;;
    *) echo "unknown" ;;
    esac
}
command_of() {  # TOOL apply|check|facts|true: sets cmd
    case "$1" in
    weiche|weiche-default-kex)
        cmd=("$WEICHE" -C "$fleets/$1" --store "$PB_RESULTS/${store:-store}-$1")
        case "$2" in
        apply) cmd+=(apply converge hosts=all --yes) ;;
        check) cmd+=(plan converge hosts=all) ;;            # 0: no change, 2: changes pending, here a failure
        facts) cmd+=(facts) ;;
        esac ;;
    *-curve25519) cmd=(env PEERBENCH_DIR="$view" "$PB_KIT/tool.sh" "${1%-curve25519}" "$2") ;;
    *) cmd=("$PB_KIT/tool.sh" "$1" "$2") ;;
    esac
}
up() {  # N: hosts, scripts, fleets
    run "$PB_KIT/up.sh" "$1"
    if [ -n "$jinja" ]; then run "$jinja" "$PB_KIT/gen-scripts.py"; fi
    # a second view of the kit's run folder: all the same but the key exchange of its ssh
    rm -rf "$view"; mkdir -p "$view/run/cp"
    local f
    for f in "$PB_RUN"/*; do
        case "${f##*/}" in cp|ssh_config) ;; *) ln -s "$f" "$view/run/" ;; esac
    done
    sed 's/^Host \*$/&\n  KexAlgorithms curve25519-sha256/' "$PB_RUN/ssh_config" > "$view/run/ssh_config"
    rm -rf "$fleets"
    run python3 "$here/fleet.py" "$fleets/weiche" curve25519-sha256
    run python3 "$here/fleet.py" "$fleets/weiche-default-kex"
}
close_masters() { "$PB_KIT/close-masters.sh"; PEERBENCH_DIR="$view" "$PB_KIT/close-masters.sh"; }
no_agent() { local h; while read -r h; do rm -rf "$PB_HOSTS/$h/home/.weiche"; done < "$PB_RUN/hosts.txt"; }

one() {  # TOOL PHASE TOOL-PHASE N REP: one measured run, cold, as the kit's run-all.sh does it
    close_masters
    local cmd log="$PB_RESULTS/logs/$1-$2-n$4-r$5"
    command_of "$1" "$3"
    PB_TASK_LOG="$log.tasks" run python3 "$PB_KIT/measure.py" --out "$PB_RESULTS/results.jsonl" --log "$log.log" \
        tool="$1" phase="$2" n="$4" rep="$5" parallel="$PB_PARALLEL" ts="$(date -u +%FT%TZ)" -- "${cmd[@]}" \
        || echo "FAILED: see $log.log" >&2
    case "$2/$1" in
    */*-sample*) ;;                                         # does a part of the work
    first/*|redeploy/*) echo "$4 $1 $2 $5 $(python3 "$PB_KIT/manifest.py")" >> "$PB_RESULTS/manifests.txt" ;;
    esac
}

# Which key exchange does each tool end up with? Asked of one host's sshd, made talkative for it.
probe_kex() {
    local t cmd log="$PB_RESULTS/logs/probe.log" phase store=probe      # not the measured runs' log
    up 1
    "$PB_KIT/down.sh" >/dev/null
    (exec 9>&-; "$sshd" -f "$PB_HOSTS/h001/sshd_config" -o LogLevel=DEBUG1 -E "$log")      # down.sh knows it: same config
    for t in "$@"; do
        case "$t" in ssh*) phase=true;; script*) phase=apply;; *) phase=facts;; esac
        close_masters
        command_of "$t" "$phase"
        : > "$log"
        run timeout 120 "${cmd[@]}" > "$PB_RESULTS/logs/probe-$t.log" 2>&1 < /dev/null || true
        echo "$t $(sed -n 's/.*kex: algorithm: \([^ ]*\).*/\1/p' "$log" | sort -u | head -1)"
    done > "$PB_RESULTS/kex.txt"
    close_masters; "$PB_KIT/down.sh" >/dev/null
    # as it would be deployed: the agent's size and memory on a host
    case " $* " in *" weiche "*)
        run "$PB_KIT/up.sh" 1 >/dev/null; agent_peak; "$PB_KIT/down.sh" >/dev/null ;;
    esac
}
agent_peak() {  # unmeasured runs under a fast sampler of /proc: first with upload, then with nothing to change
    local cmd p
    "$PB_KIT/reset.sh"; no_agent
    command_of weiche apply
    for p in first second; do
        AGENT_PEAK_LOG="$PB_RESULTS/logs/agent-$p.log" run python3 "$here/agent-peak.py" "$p" "$PB_HOSTS" "${cmd[@]}" \
            >> "$PB_RESULTS/agent.jsonl" || true
    done
}

# --- the run ----------------------------------------------------------------------------------------------------

jinja=""
for p in "$PB_VENV/bin/python" python3; do
    if "$p" -c 'import jinja2' 2>/dev/null; then jinja="$p"; break; fi
done
tools=()
for t in $TOOLS; do
    why="$(missing "$t")"
    if [ -n "$why" ]; then echo "skipped: $t ($why)"; else tools+=("$t"); fi
done
[ ${#tools[@]} -gt 0 ] || { echo "nothing to measure" >&2; exit 2; }
{
    echo "cores $(nproc), $(uname -sr), load $(cut -d' ' -f1-3 /proc/loadavg), $(date -u +%FT%TZ)"
    ssh -V 2>&1
    [ ! -x "$WEICHE" ] || "$WEICHE" --version 2>/dev/null || true
    if [ -x "$PB_VENV/bin/pip" ]; then
        "$PB_VENV/bin/pip" freeze 2>/dev/null | grep -iE '^(ansible-core|mitogen|pyinfra|paramiko)==' | paste -sd' '
    fi
} > "$PB_RESULTS/about.txt" || true

probe_kex "${tools[@]}"
kex() { sed -n "s/^$1 //p" "$PB_RESULTS/kex.txt"; }
if [ -n "$(kex weiche)" ] && [ "$(kex weiche)" = "$(kex weiche-default-kex)" ]; then
    echo "merged: weiche-default-kex into weiche (both $(kex weiche))"
    keep=(); for t in "${tools[@]}"; do [ "$t" = weiche-default-kex ] || keep+=("$t"); done
    tools=("${keep[@]}")
fi

for n in $SIZES; do
    up "$n"
    for r in $(seq "$REPS"); do
        for t in "${tools[@]}"; do                          # interleaved: every tool once in each repetition
            case "$t" in ssh*) one "$t" true true "$n" "$r"; continue;; esac
            s="$t"
            if [ "$n" -ge "$SAMPLE_FROM" ]; then
                case "$t" in
                ansible|mitogen) s="$t-sample" ;;
                ansible-curve25519|mitogen-curve25519) s="${t%-*}-sample-curve25519" ;;
                esac
            fi
            for p in $PHASES; do
                case "$p/$t" in
                check/script*|facts/script*|facts/*-loop*|facts/*-sample*) ;;
                redeploy/weiche*) "$PB_KIT/reset.sh"; one "$t" redeploy apply "$n" "$r" ;;
                redeploy/*) ;;
                first/*) "$PB_KIT/reset.sh"; no_agent; one "$s" first apply "$n" "$r" ;;
                second/*) one "$s" second apply "$n" "$r" ;;
                check/*) one "$s" check check "$n" "$r" ;;
                facts/*) one "$t" facts facts "$n" "$r" ;;  # one task: never sampled
                esac
            done
        done
    done
done
case " ${tools[*]} " in *" weiche "*)
    python3 "$here/check-fleet.py" "$fleets/large" 10000
    for r in $(seq "$REPS"); do
        log="$PB_RESULTS/logs/weiche-fleet-n10000-r$r.log"
        run python3 "$PB_KIT/measure.py" --out "$PB_RESULTS/results.jsonl" --log "$log" tool=weiche phase=fleet n=10000 \
            rep="$r" parallel=1 ts="$(date -u +%FT%TZ)" -- "$WEICHE" -C "$fleets/large" check || echo "FAILED: see $log" >&2
    done ;;
esac
close_masters; "$PB_KIT/down.sh" >/dev/null
python3 "$here/report.py" "$PB_RESULTS"
