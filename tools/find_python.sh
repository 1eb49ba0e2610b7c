#!/bin/sh
# Prints the first Python that is new enough and can make virtual environments; says so plainly where there is none.
# Usage: tools/find_python.sh MAJOR.MINOR    (PYTHON=/path/to/python in the environment is tried first, and alone)
set -u
minimum=${1:?usage: tools/find_python.sh MAJOR.MINOR}
check='
import sys
import ensurepip, venv  # some systems split these off
minimum = tuple(int(part) for part in sys.argv[1].split("."))
if sys.version_info[:2] < minimum or sys.prefix != sys.base_prefix:
    sys.exit(1)
print(sys.executable)
'

try() {
    command -v "$1" >/dev/null 2>&1 || return 1
    found=$("$1" -c "$check" "$minimum" 2>/dev/null) || return 1
    [ -n "$found" ] && printf '%s\n' "$found"
}

if [ -n "${PYTHON:-}" ]; then
    try "$PYTHON" && exit 0
    echo "PYTHON=$PYTHON is not a Python >= $minimum with the venv and ensurepip modules (outside an environment)." >&2
    exit 1
fi
# the plain name first; then by version; then what pyenv and the usual folders hold though PATH does not
for candidate in python3 python python3.11 python3.12 python3.13 python3.14 \
    "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.*/bin/python3 /usr/local/bin/python3.* /usr/bin/python3.* /opt/homebrew/bin/python3; do
    case $candidate in *-config) continue ;; esac
    try "$candidate" && exit 0
done
echo "No Python >= $minimum with the venv and ensurepip modules was found: not on PATH, not under pyenv, not in the usual folders." >&2
echo "Install one, or name it: make PYTHON=/path/to/python3 ..." >&2
exit 1
