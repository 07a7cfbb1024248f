# common.sh — sourced by the scripts: installs what is missing on Debian and Ubuntu, configures and builds.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# need COMMAND-OR-FILE PACKAGE ...: remembers PACKAGE when the command, or the file (a path), is not there.
missing=()
need() {
  while [ $# -gt 0 ]; do
    case $1 in
      /*) compgen -G "$1" >/dev/null || missing+=("$2") ;;
      *) command -v "$1" >/dev/null 2>&1 || missing+=("$2") ;;
    esac
    shift 2
  done
}

install_missing() {
  [ ${#missing[@]} -gt 0 ] || return 0
  if ! command -v apt-get >/dev/null 2>&1; then
    echo "Please install: ${missing[*]} (or their equivalents; CMake fetches missing libraries by itself)" >&2
    missing=()
    return 0
  fi
  local as_root=
  [ "$(id -u)" = 0 ] || as_root=sudo
  echo "Installing: ${missing[*]}"
  $as_root apt-get update -qq </dev/null
  $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" </dev/null
  missing=()
}

# What every build needs. Libraries are looked for by a file, since they may have been installed without apt.
need_build_tools() {
  need "${CXX:-g++}" g++ cmake cmake ninja ninja-build
  # Other packages bring Debian's python3-minimal, which lacks half of the standard library.
  python3 -c 'import concurrent.futures, shutil' 2>/dev/null || missing+=(python3)
}

# configure DIRECTORY CMAKE-OPTION...: quiet unless it fails.
configure() {
  local directory=$1 log
  shift
  mkdir -p "$directory"
  log=$directory/configure.log
  cmake -S . -B "$directory" -G Ninja "$@" >"$log" 2>&1 || { cat "$log" >&2; return 1; }
}

# build DIRECTORY TARGET...
build() {
  local directory=$1
  shift
  cmake --build "$directory" ${1:+--target "$@"}
}

# seconds_since START
seconds_since() { echo $(($(date +%s) - $1)); }
