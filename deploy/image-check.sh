#!/usr/bin/env bash
# Builds the image of ../Dockerfile and runs it as production would, on a machine without a container engine:
#
#   deploy/image-check.sh [WORK_DIRECTORY]
#
# Needs root, buildah, debootstrap, bubblewrap and psql (Debian packages), the installed node_modules of the repository, a PostgreSQL whose
# superuser ADMIN_DATABASE_URL names and a Redis at REDIS_URL. It makes a database and two roles of its own and drops them at
# the end. The base image is made here, from Debian and the Node that the project brings, under the name that the Dockerfile asks
# for. npm in the build uses the registry that npm on this machine is configured for.
# What this shows and what it does not: docs/image.md.
set -euo pipefail

repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
work=${1:-/var/tmp/farebox-image}
admin=${ADMIN_DATABASE_URL:-postgresql://postgres@127.0.0.1:5432/postgres}
redis=${REDIS_URL:-redis://127.0.0.1:6379}
port=${PORT:-18080}
# In whole MB; the Dockerfile prunes to far less.
modules_max=150
base=node:24-bookworm-slim
node=$repository/node_modules/node/bin/node
export PATH="$(dirname "$node"):$PATH"
mkdir -p "$work"

step() { printf '\n=== %s\n' "$*"; }
must() { if ! "${@:2}"; then echo "FAILED: $1"; exit 1; fi; echo "ok: $1"; }
builder() { buildah --root "$work/storage" --runroot "$work/run" --storage-driver vfs "$@"; }

make_base() {
  local container mount
  [ -d "$work/rootfs" ] || debootstrap --variant=minbase --include=ca-certificates bookworm "$work/rootfs.part"
  [ -d "$work/rootfs" ] || mv "$work/rootfs.part" "$work/rootfs"
  container=$(builder from scratch)
  mount=$(builder mount "$container")
  cp -a "$work/rootfs/." "$mount/"
  cp "$node" "$mount/usr/local/bin/node"
  npm install --silent --no-save --prefix "$work/npm" npm@11
  mkdir -p "$mount/usr/local/lib/node_modules"
  cp -a "$work/npm/node_modules/npm" "$mount/usr/local/lib/node_modules/"
  ln -sf ../lib/node_modules/npm/bin/npm-cli.js "$mount/usr/local/bin/npm"
  chroot "$mount" groupadd --gid 1000 node
  chroot "$mount" useradd --uid 1000 --gid node --create-home --shell /bin/bash node
  builder umount "$container" >/dev/null
  builder config --env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$container"
  builder commit --quiet --rm "$container" "$base" >/dev/null
}

step 'base image'
builder inspect --type image "$base" >/dev/null 2>&1 || make_base
builder images

step 'build'
# Whom this machine trusts may include a proxy of its own, so the build trusts the same.
trusted=/etc/ssl/certs/ca-certificates.crt
printf 'registry=%s\ncafile=%s\n' "$(npm config get registry 2>/dev/null)" "$trusted" >"$work/npmrc"
# The docker format, since the other one has no HEALTHCHECK.
builder bud --isolation chroot --network host --format docker --pull=never --volume "$work/npmrc:/root/.npmrc:ro" \
  --volume "${NODE_EXTRA_CA_CERTS:-$trusted}:$trusted:ro" --tag farebox "$repository" 2>&1 | tee "$work/build.log"
container=$(builder from --pull=never farebox)
root=$(builder mount "$container")

step 'what is in it'
builder inspect --type image farebox >"$work/image.json"
# The values of a setting of the image, one a line.
setting() {
  node -e 'const { config } = JSON.parse(require("fs").readFileSync(process.argv[1], "utf8")).Docker
    for (const one of [process.argv[2].split(".").reduce((at, name) => at[name], config)].flat()) console.log(one)' "$work/image.json" "$1"
}
megabytes=$(du -sm "$root/app/node_modules" | cut -f1)
echo "node_modules: $megabytes MB; the whole of /app: $(du -sm "$root/app" | cut -f1) MB"
must "node_modules is below $modules_max MB" test "$megabytes" -lt "$modules_max"
must 'no Prisma command line' test ! -e "$root/app/node_modules/prisma"
must 'no source maps of dependencies' test -z "$(find "$root/app/node_modules" -name '*.map' -print -quit)"
must 'no development dependencies' test ! -e "$root/app/node_modules/typescript"
must 'no sources, tests or tools' test ! -e "$root/app/src" -a ! -e "$root/app/test" -a ! -e "$root/app/tools"
must 'it runs as the user node' test "$(setting User)" = node
must 'the entry point is tini' test "$(setting Entrypoint | head -1)" = tini
mapfile -t entrypoint < <(setting Entrypoint)
mapfile -t command < <(setting Cmd)
mapfile -t variables < <(setting Env)
mapfile -t health < <(setting Healthcheck.Test | tail -n +2)

# A user of its own with no capabilities, a root that cannot be written, a process tree of its own: what an engine would be told.
# What is started is process 1.
sandboxed() {
  local arguments=() variable
  for variable in "${variables[@]}" "${settings[@]}"; do arguments+=(--setenv "${variable%%=*}" "${variable#*=}"); done
  exec bwrap --clearenv "${arguments[@]}" --unshare-user --uid 1000 --gid 1000 --unshare-pid --as-pid-1 --unshare-ipc --cap-drop ALL \
    --die-with-parent --ro-bind "$root" / --proc /proc --dev /dev --tmpfs /tmp --ro-bind /etc/hosts /etc/hosts --chdir /app -- "$@"
}
inside() (sandboxed "${entrypoint[@]}" "$@")

step 'database'
name=farebox_image_$$
secret=$(node -e 'console.log(require("crypto").randomBytes(16).toString("hex"))')
address() { node -e 'const url = new URL(process.argv[1]); url.username = process.argv[2]; url.password = process.argv[3]; url.pathname = process.argv[4]; console.log(url.href)' "$admin" "$@"; }
service_pid=''
tidy() {
  if [ -n "$service_pid" ]; then kill -KILL "$service_pid" 2>/dev/null || true; fi
  psql --quiet "$admin" -c "drop database if exists $name with (force)" -c "drop role if exists $name" -c "drop role if exists ${name}_owner" || true
  builder rm "$container" >/dev/null || true
}
trap tidy EXIT
psql --quiet -v ON_ERROR_STOP=1 "$admin" -c "create role ${name}_owner login password '$secret'" -c "create role $name login password '$secret'" \
  -c "create database $name owner ${name}_owner"
settings=(HOST=127.0.0.1 "PORT=$port" "JWT_SECRET=$secret$secret" "REDIS_URL=$redis" "DATABASE_URL=$(address "$name" "$secret" "$name")")
settings+=("MIGRATION_DATABASE_URL=$(address "${name}_owner" "$secret" "$name")")
inside node dist/cli.js migrate
unset 'settings[-1]'
inside node dist/cli.js seed
key=$(inside node dist/cli.js keys create --name load --scope wallets:write --scope usage:write --scope grants:write | grep -o 'fbx_[A-Za-z0-9_-]*' | head -1)
inside node dist/cli.js doctor

step 'run'
must 'the root file system cannot be written' inside sh -c '! touch /app/x 2>/dev/null && ! touch /etc/x 2>/dev/null && touch /tmp/x'
must 'it is not root and has no capabilities' inside sh -c 'test "$(id -u)" = 1000 && grep -q "^CapEff:[[:space:]]*0000000000000000" /proc/self/status'
(sandboxed "${entrypoint[@]}" "${command[@]}") >"$work/service.log" 2>&1 &
service_pid=$!
ready() { for _ in $(seq 300); do if curl --fail --silent "http://127.0.0.1:$port/readyz"; then echo; return 0; fi; sleep 0.2; done; cat "$work/service.log"; return 1; }
must '/readyz answers' ready
must 'the health check passes' inside "${health[@]}"
process1=$(cat "/proc/$service_pid/task/$service_pid/children" | tr -d ' ')
must 'process 1 is tini' grep -qx tini "/proc/$process1/comm"

step 'SIGTERM under load'
node "$repository/tools/image-load.ts" "http://127.0.0.1:$port" "$key" "$(address "$name" "$secret" "$name")" "$work/load.started" >"$work/load.log" 2>&1 &
load_pid=$!
until [ -e "$work/load.started" ]; do sleep 0.1; kill -0 "$load_pid"; done
sleep 5
kill -TERM "$process1"
status=0
wait "$service_pid" || status=$?
service_pid=''
rm -f "$work/load.started"
must "exit code 0 (it was $status)" test "$status" = 0
must 'the health check fails without a service' bash -c "! curl --silent http://127.0.0.1:$port/healthz"
loaded=0
wait "$load_pid" || loaded=$?
cat "$work/load.log"
must 'nothing that was acknowledged is missing' test "$loaded" = 0
must 'the book is sound' inside node dist/cli.js verify
step 'all of it holds'
