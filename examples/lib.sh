# What the examples' run scripts share. Sourced, not run.
#
# A run script starts upstreams and the proxy, sends traffic, says what it expects, and ends with
# `finish`. FAIRLEAD_BIN names the proxy; any binary that takes Envoy's options will do.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
here=$(cd "$(dirname "${BASH_SOURCE[1]}")" && pwd)
binary=${FAIRLEAD_BIN:-$root/.build/release/fairlead}
work=$(mktemp -d "${TMPDIR:-/tmp}/fairlead-example.XXXXXX")
# Standard output of the proxy: its access log.
access_log=$work/access.log
proxy_log=$work/proxy.log
failures=0
children=()

cleanup() {
  local child
  for child in "${children[@]}"; do kill "$child" 2>/dev/null; done
  for child in "${children[@]}"; do wait "$child" 2>/dev/null; done
  rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }

# The examples use fixed ports, so that what they print can be typed again. Say it clearly when
# somebody else has one.
require_free_port() {
  if (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; then
    echo "port $1 on 127.0.0.1 is taken; the examples need it" >&2
    exit 1
  fi
}

# await_port PORT PID: until somebody listens there or the process is gone.
await_port() {
  local tries
  for ((tries = 0; tries < 200; tries++)); do
    if (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; then return 0; fi
    kill -0 "$2" 2>/dev/null || return 1
    sleep 0.05
  done
  return 1
}

# start_upstream NAME PORT
start_upstream() {
  require_free_port "$2"
  python3 "$root/examples/upstream.py" "$1" "$2" &
  children+=($!)
  await_port "$2" $! || { echo "the upstream $1 did not start" >&2; exit 1; }
}

# start_proxy [CONFIGURATION [OPTION...]]: listens on 10000, admin on 9901.
start_proxy() {
  local configuration=${1:-$here/fairlead.yaml}
  shift || true
  if [[ ! -x $binary ]]; then
    echo "$binary is not there. Build it with scripts/build, or name one in FAIRLEAD_BIN" >&2
    exit 1
  fi
  require_free_port 10000
  require_free_port 9901
  "$binary" -c "$configuration" --concurrency 1 "$@" >"$access_log" 2>"$proxy_log" &
  proxy=$!
  children+=("$proxy")
  if ! await_port 10000 "$proxy"; then
    echo "the proxy did not start:" >&2
    tail -20 "$proxy_log" >&2
    exit 1
  fi
}

# Ends the proxy, so that the next start_proxy can have the port.
stop_proxy() {
  kill "$proxy" 2>/dev/null
  wait "$proxy" 2>/dev/null
}

# status [CURL ARGUMENTS]: only the response's status.
status() { curl --silent --output /dev/null --max-time 10 --write-out '%{http_code}' "$@"; }

# stat NAME: the value of one counter or gauge, 0 when it does not exist.
stat() {
  curl --silent --max-time 10 http://127.0.0.1:9901/stats |
    awk -v name="$1:" '$1 == name { value = $2 } END { print value + 0 }'
}

# expect WHAT ACTUAL WANTED, or expect WHAT ACTUAL between LOW HIGH
expect() {
  local what=$1 actual=$2 passed=no wanted=$3
  if [[ $wanted == between ]]; then
    wanted="between $4 and $5"
    ((actual >= $4 && actual <= $5)) && passed=yes
  elif [[ $actual == "$wanted" ]]; then
    passed=yes
  fi
  if [[ $passed == yes ]]; then
    printf '  ok    %s: %s\n' "$what" "$actual"
  else
    printf '  WRONG %s: %s, expected %s\n' "$what" "$actual" "$wanted"
    failures=$((failures + 1))
  fi
}

# logged PATTERN [COUNT]: how many access-log lines match. Lines are written by a thread of their own,
# so wait a moment for COUNT of them (1 if not given).
logged() {
  local tries found=0
  for ((tries = 0; tries < 60; tries++)); do
    found=$(grep --count --extended-regexp -- "$1" "$access_log")
    ((found >= ${2:-1})) && break
    sleep 0.05
  done
  echo "$found"
}

finish() {
  echo
  if ((failures > 0)); then
    echo "$failures of the above were not as expected. The proxy said:"
    tail -20 "$proxy_log"
    exit 1
  fi
  echo "All as expected."
}
