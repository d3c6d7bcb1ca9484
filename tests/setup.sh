#!/usr/bin/env bash
# Brings what the tests use and a fresh clone lacks. Into build/: the npm and Python packages of real MCP clients and
# servers. Into cargo's own folder: cargo-nextest. Into the system, for root on Debian only: Node, Python, PostgreSQL,
# Redis, Prometheus and Chromium, of which tests start instances of their own and touch no other.
# Does nothing in a moment when all is there. SKIP=postgres,redis,prometheus,node,python,browser leaves parts out.
set -euo pipefail
cd "$(dirname "$0")/.."

node_packages=(
  @modelcontextprotocol/client@2.4.0
  @modelcontextprotocol/conformance@0.2.0-alpha.12
  @modelcontextprotocol/inspector-cli@0.15.0
  @modelcontextprotocol/node@2.1.2
  @modelcontextprotocol/server@2.4.0
  @modelcontextprotocol/server-everything@2026.8.31
  conformance-0.1.16@npm:@modelcontextprotocol/conformance@0.1.16
  mcp-remote@0.15.1
  oidc-provider@9.13.3
  playwright-core@1.65.1
)
python_packages=('fastmcp-slim[client]==4.1.6' mcp==2.3.0 schemathesis==4.32.5)

skips() { [[ ",${SKIP:-}," == *",$1,"* ]]; }

give_up() {
  echo "tests/setup.sh: missing: $1" >&2
  exit 1
}

parts=(postgres redis prometheus node python browser)
skip=${SKIP:-}
for part in ${skip//,/ }; do
  [[ " ${parts[*]} " == *" $part "* ]] || give_up "nothing is called '$part': SKIP takes ${parts[*]}"
done

# Debian packages, where we may install them.
debian() {
  [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null || give_up "$* (install it, or leave its part out with SKIP, which takes ${parts[*]})"
  echo "installing $*" >&2
  apt-get update -qq >&2 && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends \
    -o DPkg::Lock::Timeout=300 "$@" >&2 ||
    give_up "$* (apt-get failed)"
}

# Debian keeps the programs of a PostgreSQL server out of the path. 14 is the oldest that Gatehouse runs on.
has_postgres() {
  local initdb
  initdb=$(command -v initdb || ls -v /usr/lib/postgresql/*/bin/initdb 2>/dev/null | tail -n 1)
  [[ -n $initdb ]] && (($("$initdb" --version | grep -oE '[0-9]+' | head -n 1) >= 14))
}

# Whether a folder was filled from exactly this list.
filled() { [[ -f $1/.filled && $(<"$1/.filled") == "$2" ]]; }

if ! command -v cargo-nextest >/dev/null; then
  cargo install cargo-nextest --locked || give_up "cargo-nextest"
fi

packages=()
skips postgres || has_postgres || packages+=(postgresql)
skips redis || command -v redis-server >/dev/null || packages+=(redis-server)
skips prometheus || command -v prometheus >/dev/null || packages+=(prometheus)
skips browser || command -v chromium >/dev/null || packages+=(chromium)
[[ ${#packages[@]} == 0 ]] || debian "${packages[@]}"

if ! skips node && ! filled build/node "${node_packages[*]}"; then
  command -v node >/dev/null && command -v npm >/dev/null || debian nodejs npm
  node -e 'process.exit(process.versions.node.split(".")[0] >= 20 ? 0 : 1)' ||
    give_up "Node 20 or later (here is $(node --version); or leave it out with SKIP=node)"
  mkdir -p build/node
  npm install --prefix build/node --save-exact --no-audit --no-fund --loglevel=error "${node_packages[@]}" >&2 ||
    give_up "the npm packages ${node_packages[*]}"
  echo "${node_packages[*]}" >build/node/.filled
fi

if ! skips python && ! filled build/venv "${python_packages[*]}"; then
  command -v python3 >/dev/null && python3 -c 'import ensurepip, venv' 2>/dev/null || debian python3 python3-venv
  python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
    give_up "Python 3.10 or later (here is $(python3 --version); or leave it out with SKIP=python)"
  [[ -x build/venv/bin/pip ]] || python3 -m venv --clear build/venv || give_up "a Python environment in build/venv"
  build/venv/bin/pip install --quiet --disable-pip-version-check "${python_packages[@]}" >&2 ||
    give_up "the Python packages ${python_packages[*]}"
  echo "${python_packages[*]}" >build/venv/.filled
fi
