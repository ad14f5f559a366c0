#!/usr/bin/env bash
# Builds the image without a container engine and runs it once: make container. Needs root, and
# Debian's mmdebstrap and buildah. Leaves the image in buildah's store as surgiclear.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${1:-.venv/bin/python}
work=$(mktemp -d)
storage=${CONTAINER_STORE:-/var/lib/surgiclear-containers}
build=(buildah --storage-driver vfs --root "$storage/root" --runroot "$storage/run")
container=
clean() {
  [ -z "$container" ] || "${build[@]}" rm "$container" >/dev/null || true
  rm -rf "$work"
}
trap clean EXIT

base=localhost/surgiclear-base
if ! "${build[@]}" inspect --type image "$base" >/dev/null 2>&1; then
  echo "the base: a minimal Debian with Python"
  mmdebstrap --quiet --variant=minbase --include=python3,python3-venv bookworm "$work/base.tar"
  blank=$("${build[@]}" from scratch)
  "${build[@]}" add --quiet "$blank" "$work/base.tar" / >/dev/null
  "${build[@]}" commit --quiet "$blank" "$base" >/dev/null
  "${build[@]}" rm "$blank" >/dev/null
fi

echo "the wheels, fetched here, so that the build itself needs no network"
"$python" -m pip wheel --quiet --wheel-dir "$work/wheels" '.[cpu]' hatchling

echo "the image"
"${build[@]}" bud --quiet --isolation chroot --network host --format docker \
  --build-arg BASE="$base" --build-arg PIP_FIND_LINKS=/wheels --build-arg PIP_NO_INDEX=1 \
  --volume "$work/wheels:/wheels:ro" --file docker/cpu.Dockerfile --tag surgiclear .
"${build[@]}" images --format '{{.Name}} {{.Size}}' surgiclear

echo "one run, as the image's own user, with a root that cannot be written"
container=$("${build[@]}" from surgiclear)
"$python" docker/try_run.py "${build[@]}" -- "$container"
