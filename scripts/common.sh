# Sourced by the other scripts, with bash. It goes to the project's root and gives them:
#   environment [GROUP]...   .venv with Weebill and these dependency groups of pyproject.toml
#   need COMMAND PACKAGE     a command of the system, installed with apt-get where that is allowed
#   need_library FILE PACKAGE   the same of a library

set -eu
me="scripts/$(basename "$0")"
cd "$(dirname "$0")/.."
python=.venv/bin/python

say() { echo "$me: $*" >&2; }

fail() {
  say "$@"
  exit 1
}

environment() {
  local group list
  made_already || make_environment
  install_once weebill -e .
  for group; do
    list=$(requirements "$group")
    install_once "$group" -r /dev/stdin <<<"$list"
  done
}

# Whether .venv works, and is of the Python that PYTHON asks for, if it asks.
made_already() {
  $python -c 'import sys, pip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || return 1
  [ -z "${PYTHON:-}" ] || [ "$(version_of $python)" = "$(version_of "$PYTHON" 2>/dev/null)" ]
}

version_of() { "$1" -c 'import platform; print(platform.python_version())'; }

make_environment() {
  local base=${PYTHON:-python3} version
  version=$(version_of "$base" 2>/dev/null) ||
    fail "there is no $base that runs; install Python 3.11 or later, or name one: PYTHON=/path/to/python3 $me"
  "$base" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "Weebill needs Python 3.11 or later, and $base is $version; name another: PYTHON=/path/to/python3 $me"
  "$base" -c 'import ensurepip, venv' 2>/dev/null ||
    fail "$base cannot make virtual environments; on Debian and Ubuntu: sudo apt-get install python3-venv"
  say "making .venv with Python $version"
  "$base" -m venv --clear .venv
}

# pip cannot read dependency groups before 25.1, and Python 3.11 brings an older one.
requirements() {
  $python -c '
import sys, tomllib
with open("pyproject.toml", "rb") as file:
    print(*tomllib.load(file)["dependency-groups"][sys.argv[1]], sep="\n")
' "$1"
}

# pip, unless it has done the same for this very pyproject.toml in this very folder.
install_once() {
  local name=$1 stamp=.venv/installed-$1 state
  shift
  state=$(pwd && cat pyproject.toml)
  [ "$(cat "$stamp" 2>/dev/null)" = "$state" ] && return
  say "installing $name into .venv"
  $python -m pip install -qq --disable-pip-version-check "$@"
  echo "$state" >"$stamp"
}

need() {
  command -v "$1" >/dev/null || apt_install "$2"
  command -v "$1" >/dev/null || missing "$1" "$2"
}

need_library() {
  ldconfig -p | grep -q "$1" || apt_install "$2"
  ldconfig -p | grep -q "$1" || missing "$1" "$2"
}

apt_install() {
  local sudo=
  [ "$(id -u)" = 0 ] || sudo="sudo -n"
  if command -v apt-get >/dev/null && $sudo true 2>/dev/null; then
    say "installing $1 with apt-get"
    $sudo apt-get update -qq || true
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends "$1" >/dev/null || true
  fi
}

missing() { fail "$1 is not installed; on Debian and Ubuntu: sudo apt-get install $2"; }
