#!/bin/sh
# Installs the runtime from this folder, without a network, and proves the bundle on this device.
#
#   sh install.sh [FOLDER]        FOLDER is for the virtual environment. The default is venv, next to this file.
#
# PYTHON=... uses another interpreter. TUNE=0 skips `signs tune`, which takes about a minute.
# Exit codes: 0 installed and proved; 1 an error, with a message; 3 the device does not answer as Keras did.
set -eu

here=$$(cd "$$(dirname "$$0")" && pwd)
target=$${1:-$$here/venv}
python=$${PYTHON:-python$python}

fail() {
    echo "install.sh: $$1" >&2
    exit 1
}

[ "$$(uname -m)" = "$machine" ] || fail "this folder is for $platform, but this machine is $$(uname -m)."
command -v "$$python" >/dev/null || fail "$$python was not found. Install Python $python, or pass its path: PYTHON=PATH sh install.sh"
"$$python" -c 'import sys; sys.exit("%d.%d" % sys.version_info[:2] != "$python")' ||
    fail "$$python is not Python $python, which the wheels in this folder need."
"$$python" -c 'import struct; exit(struct.calcsize("P") != 8)' ||
    fail "$$python is a 32-bit program, but onnxruntime needs a 64-bit one."
[ "$$(uname -s)" != Linux ] || "$$python" -c 'import platform; exit(platform.libc_ver()[0] != "glibc")' ||
    fail "$$python does not use glibc, which the wheels in this folder need."
if command -v sha256sum >/dev/null; then
    (cd "$$here" && sha256sum -c SHA256SUMS >/dev/null) || fail "files are damaged. Copy the folder again."
fi

[ ! -e "$$target" ] || [ -f "$$target/pyvenv.cfg" ] ||
    fail "$$target exists, is not a virtual environment and is not overwritten. Choose another FOLDER."
"$$python" -m venv --clear "$$target" || fail "the virtual environment could not be created. On Debian: apt install python$python-venv"
"$$target/bin/python" -m pip install --quiet --disable-pip-version-check --no-index \
    --find-links "$$here/wheels" --require-hashes --requirement "$$here/requirements.txt"
"$$target/bin/signs" verify "$$here/bundle"
[ "$${TUNE:-1}" = 0 ] || "$$target/bin/signs" tune "$$here/bundle"
echo "Installed. Next: $$target/bin/signs predict $$here/bundle PICTURE"
