#!/usr/bin/env bash
# sudo bash tests/repo/container.sh [FOLDER]
#
# Builds the Dockerfile with podman, without a daemon and without a container registry, and captions the example
# images in it: no network, read-only root, no capabilities, user 10001. Everything lies in FOLDER (a new temporary
# one without it), and is removed at the end unless KEEP=1. About five minutes and 8 GB.
#
# On Debian 12: apt-get install podman runc debootstrap containernetworking-plugins
# BASE_IMAGE=IMAGE takes that image instead of a stand-in for python:3.11-slim-bookworm made by debootstrap. The
# stand-in shows that the Dockerfile's steps work; it shows neither the public base image nor a GPU.
# WHEELS=FOLDER offers pip a folder of wheels, for instance with the CPU build of torch.
set -euo pipefail
repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
work=${1:-$(mktemp -d)}
mkdir -p "$work"
cd "$work"

say() { printf '\n=== %s (%ss so far)\n' "$1" "$SECONDS"; }
fail() { printf 'container.sh: %s\n' "$1" >&2; exit 1; }

for tool in podman runc debootstrap; do
    command -v "$tool" >/dev/null || fail "needs $tool: apt-get install podman runc debootstrap containernetworking-plugins"
done

# A storage and settings of its own: the machine's images and configuration are neither used nor changed.
export CONTAINERS_CONF=$work/containers.conf CONTAINERS_STORAGE_CONF=$work/storage.conf
cat >"$CONTAINERS_CONF" <<EOF
[containers]
default_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
EOF
cat >"$CONTAINERS_STORAGE_CONF" <<EOF
[storage]
driver = "overlay"
graphroot = "$work/storage"
runroot = "$work/run"
EOF

cleanup() {
    if [ -z "${KEEP:-}" ]; then
        podman rm --all --force --time 1 >/dev/null 2>&1 || true
        podman rmi --all --force >/dev/null 2>&1 || true
        umount "$work/storage/overlay" 2>/dev/null || true
        rm -rf "$work"
    fi
}
trap cleanup EXIT

if [ -z "${BASE_IMAGE:-}" ]; then
    say "stand-in base image"
    BASE_IMAGE=localhost/python-base:ci
    debootstrap --variant=minbase --include=python3,python3-venv,python3-pip,ca-certificates bookworm rootfs >debootstrap.log
    rm -f rootfs/usr/lib/python3*/EXTERNALLY-MANAGED
    ln -sf python3 rootfs/usr/bin/python
    tar -C rootfs --exclude=./proc/* --exclude=./sys/* --exclude=./dev/* -c . |
        podman import --change 'CMD ["python3"]' --change 'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' - "$BASE_IMAGE"
    rm -rf rootfs
fi

say "build"
mounts=()
for path in /etc/ssl/certs/ca-certificates.crt /etc/pip.conf; do # this machine's way to its package index
    [ ! -e "$path" ] || mounts+=(-v "$path:$path:ro")
done
if [ -n "${WHEELS:-}" ]; then
    printf '[global]\nfind-links = /wheels\n' >wheels.conf
    mounts+=(-v "$WHEELS:/wheels:ro" -v "$work/wheels.conf:/etc/xdg/pip/pip.conf:ro")
fi
podman build --build-arg BASE_IMAGE="$BASE_IMAGE" --build-arg REVISION="$(git -C "$repository" rev-parse HEAD 2>/dev/null || true)" \
    "${mounts[@]}" --isolation=chroot --layers=false --format docker --pull=never -t localhost/pdlm:ci "$repository"
podman image inspect --format 'size {{.Size}} bytes, user {{.User}}, labels {{.Labels}}' localhost/pdlm:ci

mkdir -p data
cp -r "$repository/examples" data/
chown -R 10001:10001 data
pdlm() {
    podman run --rm --pull=never --network=none --no-healthcheck --read-only --read-only-tmpfs=false --tmpfs /tmp \
        --cap-drop ALL --security-opt no-new-privileges -v "$work/data:/data" localhost/pdlm:ci "$@"
}

say "pdlm --help"
pdlm --help

say "pdlm caption"
pdlm caption --input examples/coco/masks.json --images examples --output out --steps 8 --length 8
[ -s data/out/data/part-00000.parquet ] || fail "no Parquet file was written"
[ "$(stat -c %u data/out/data/part-00000.parquet)" = 10001 ] || fail "the Parquet file does not belong to user 10001"

say "another user, by --user"
podman run --rm --pull=never --network=none --no-healthcheck --read-only --read-only-tmpfs=false --tmpfs /tmp \
    --cap-drop ALL --security-opt no-new-privileges --user 12345:12345 --tmpfs /out:mode=1777 -v "$work/data:/data:ro" \
    localhost/pdlm:ci caption --input examples/coco/masks.json --images examples --output /out/run --steps 2 --length 4 --limit 1

say "all seen to work"
