#!/usr/bin/env bash
# Three hosts on one machine, and a study on them for real: `ray up` over SSH, `ray exec`, a host lost in mid-sweep, a job
# through an SSH tunnel, `ray down`. Each host has network, PID, mount and host-name namespaces, a home, a /tmp and an sshd
# of its own; the folder /mnt/study is shared, as NFS would be.
#
#     sudo scripts/hosts.sh            # in the environment that has the project with its extra `cluster`; 5 to 10 minutes
#
# Needs root, iproute2, openssh-server, rsync. All of it lives in namespaces of one process: when that ends, in whatever
# way, processes, interfaces and mounts are gone, and nothing outside has been touched.
set -Eeuo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)

if [ $# = 0 ]; then
  [ "$(id -u)" = 0 ] || { echo "hosts.sh: must run as root (namespaces, sshd)" >&2; exit 2; }
  for tool in unshare ip ssh /usr/sbin/sshd ssh-keygen rsync ray python; do
    command -v "$tool" >/dev/null || { echo "hosts.sh: $tool is missing" >&2; exit 2; }
  done
  work=$(mktemp -d /var/tmp/hosts.XXXXXX)
  trap 'rm -rf "$work"' EXIT
  unshare --pid --net --mount --fork --mount-proc --kill-child "$here/scripts/hosts.sh" inside "$work"
  exit
fi

work=$2
bin=$(dirname "$(command -v ray)")
study=(compressibility_sweep --preset smoke --set epochs=60 --seeds 3)
trials=9
say() { printf '\n== %s (%s s)\n' "$*" "$SECONDS"; }

prepare() {
  ip link set lo up
  ip link add hub type bridge && ip addr add 10.77.0.1/24 dev hub && ip link set hub up
  mkdir -p "$work/shared" "$work/laptop" /run/sshd
  ssh-keygen -q -t ed25519 -N '' -f "$work/key"
  ssh-keygen -q -t ed25519 -N '' -f "$work/hostkey"
  sed 's|^root:.*|root:x:0:0:root:/srv/study:/bin/bash|' /etc/passwd > "$work/passwd"
  export HOME=$work/laptop RAY_AUTH_MODE=token RAY_USAGE_STATS_ENABLED=0 MLFLOW_TRACKING_URI=sqlite:///$work/laptop/mlflow.db
  unset RAY_ADDRESS RAY_AUTH_TOKEN
  mount -t tmpfs tmpfs /tmp 2>/dev/null && case "$bin $here" in */tmp/*) umount /tmp ;; esac
  ray get-auth-token --generate > "$work/token.log" 2>&1
}

# What runs as the first process of a host: its own file systems, then sshd in the foreground.
init() {
  local i=$1
  hostname "host$i"
  mount --bind "$work/passwd" /etc/passwd
  mkdir -p "$work/$i/study" "$work/$i/tmp" && chmod 1777 "$work/$i/tmp"
  mount --bind "$work/$i" /srv
  mount -t tmpfs tmpfs /mnt && mkdir /mnt/study && mount --bind "$work/shared" /mnt/study
  mount -t tmpfs -o size=1g tmpfs /dev/shm
  ip link set lo up
  until ip addr add "10.77.0.1$i/24" dev "h$i" 2>/dev/null && ip link set "h$i" up; do sleep 0.1; done
  ip route add default via 10.77.0.1  # leads nowhere; Ray finds its own address by looking for one
  exec /usr/sbin/sshd -D -e -f /dev/null -o ListenAddress="10.77.0.1$i" -o HostKey="$work/hostkey" \
    -o AuthorizedKeysFile="$work/key.pub" -o StrictModes=no -o UsePAM=no -o PermitRootLogin=yes -o PidFile=none \
    -o MaxStartups=50 -o "SetEnv=TMPDIR=/srv/tmp RAY_TMPDIR=/srv/tmp"
}

host() {
  local i=$1
  unshare --pid --net --mount --uts --fork --mount-proc --kill-child "$here/scripts/hosts.sh" init "$work" "$i" 2> "$work/sshd$i.txt" &
  pids[i]=$!
  until [ "$(readlink "/proc/${pids[i]}/ns/net")" != "$(readlink /proc/self/ns/net)" ]; do sleep 0.1; done
  ip link add "wire$i" type veth peer name "h$i" netns "${pids[i]}"
  ip link set "wire$i" master hub up
}

# cluster-local.yaml with these hosts, and this environment in place of the installation.
cluster_file() {
  python - "$here/cluster-local.yaml" "$(dirname "$bin")" "$work/key" > "$work/hosts.yaml" <<'PYTHON'
import sys, yaml
config = yaml.safe_load(open(sys.argv[1]))
config["provider"] |= {"head_ip": "10.77.0.10", "worker_ips": ["10.77.0.11", "10.77.0.12"]}
config["auth"] = {"ssh_user": "root", "ssh_private_key": sys.argv[3]}
setup = [c for c in config["setup_commands"] if "pip" not in c]
config["setup_commands"] = [f"ln -sfn {sys.argv[2]} ~/venv", *setup,
                            "echo 'export PYTHONPATH=$HOME/study TMPDIR=/srv/tmp OMP_NUM_THREADS=1 RAY_agent_register_timeout_ms=600000' >> ~/study.env"]
# Three nodes start on few cores at once, and a node whose agents are not up within 15 s gives up: it is started again.
small = "ray start --temp-dir=/srv/tmp/ray --object-store-memory=100000000"
patient = "for n in 1 2 3 4 5 6; do ({0}) && sleep 20 && pgrep -x raylet > /dev/null && break; ray stop --force; done"
for who, cpus in (("head", 0), ("worker", 1)):
    key = f"{who}_start_ray_commands"
    config[key] = [patient.format(c.replace("ray start", f"{small} --num-cpus={cpus}")) if "ray start" in c else c
                   for c in config[key]]
print(yaml.safe_dump(config))
PYTHON
}

job() { (cd "$work/laptop" && python -m study.launch pareto_search --preset smoke --cluster "$work/hosts.yaml"); }

main() {
  declare -a pids
  trap 'tail -n 25 "$work"/*.log >&2' ERR
  prepare
  for i in 0 1 2; do host "$i"; done
  cluster_file
  until ssh -q -i "$work/key" -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null root@10.77.0.12 true; do sleep 0.5; done
  cd "$here"

  say "ray up"
  ray up -y "$work/hosts.yaml" > "$work/up.log" 2>&1
  until ray exec "$work/hosts.yaml" 'hostname; ray status' > "$work/status.log" 2>&1 && grep -q '/2.0 CPU' "$work/status.log"; do sleep 3; done
  grep -E '^host|CPU|local.cluster' "$work/status.log" | tr -d '\r'

  say "an output that only the head has"
  ray exec "$work/hosts.yaml" "TERM=dumb python -m study.launch ${study[*]} --output /srv/study/out" > "$work/refused.log" 2>&1 || true
  grep '^study:' "$work/refused.log" | tr -d '\r'
  grep -q 'is not seen by 10.77.0' "$work/refused.log"

  say "ray exec: the sweep; host2 is lost after its third trial"
  ray exec "$work/hosts.yaml" "TERM=dumb python -m study.launch ${study[*]} --tracking-uri sqlite:////srv/study/sweep.db" > "$work/sweep.log" 2>&1 &
  local sweep=$!
  until grep -qs '^\[3/' "$work/sweep.log"; do kill -0 $sweep; sleep 0.2; done
  kill -KILL "${pids[2]}" && echo "host2 is gone"
  wait "${pids[2]}" 2> /dev/null || true
  wait $sweep
  grep -E '^Ray:|trials finished|^\[' "$work/sweep.log" | tr -d '\r'

  say "the same rows as an undisturbed run in one process"
  python -m study.launch "${study[@]}" --in-process --output "$work/control" > "$work/control.log" 2>&1
  python - "$work" $trials <<'PYTHON'
import sys
from study import results
a, b = ({n: results.rows_digest(t.rows, True) for n, t in results.scan(__import__("pathlib").Path(f)).items()}
        for f in (f"{sys.argv[1]}/shared/compressibility_sweep-smoke", f"{sys.argv[1]}/control"))
assert len(a) == int(sys.argv[2]) and a == b, (len(a), len(b))
print(f"{len(a)} trials, deterministic rows equal")
PYTHON

  say "--cluster: a job through an SSH tunnel, its results fetched"
  ray exec "$work/hosts.yaml" 'echo export MLFLOW_TRACKING_URI=sqlite:////srv/study/job.db > ~/study.secrets' > "$work/secrets.log" 2>&1
  job > "$work/job.log" 2>&1
  grep -E '^Submitted|trials finished|^Results' "$work/job.log" | tr -d '\r'
  test -s "$work/0/study/job.db"
  diff -r "$work/shared/pareto_search-smoke" "$work/laptop/results/pareto_search-smoke"
  echo "every file is here, with $(find "$work/laptop/results" -name model.pt2 | wc -l) exported models"

  say "the same command, with another sweep of that name on the laptop"
  sed -i 's/"sweep": "/&another-/' "$work/laptop/results/pareto_search-smoke/study.json"
  job > "$work/again.log" 2>&1
  grep -E '^Found|were not copied' "$work/again.log" | tr -d '\r' | sed "s|$work/||"
  grep -q '"sweep": "another-' "$work/laptop/results/pareto_search-smoke/study.json"

  say "ray down"
  ray down -y "$work/hosts.yaml" > "$work/down.log" 2>&1
  local left=1
  for _ in $(seq 60); do
    left=$(ssh -q -i "$work/key" -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null root@10.77.0.10 'pgrep -c gcs_server || true')
    [ "$left" = 0 ] && break
    sleep 1
  done
  echo "Ray servers left on the head: $left"
  [ "$left" = 0 ]
  say "done"
}

case $1 in
  inside) main ;;
  init) init "$3" ;;
esac
