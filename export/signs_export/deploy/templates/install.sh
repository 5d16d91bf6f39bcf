#!/bin/sh
# Installs the runtime from this folder, without a network, and proves the bundle on this device.
#
#   sh install.sh [FOLDER]        FOLDER is where the virtual environment goes; by default venv, beside this file
#
# PYTHON names another interpreter. TUNE=0 leaves `signs tune` out, which takes a minute or more.
# Exit codes: 0 installed and proved, 1 an error that is explained, 3 the device does not answer as Keras did.
set -eu

here=$$(cd "$$(dirname "$$0")" && pwd)
target=$${1:-$$here/venv}
python=$${PYTHON:-python$python}

fail() {
    echo "install.sh: $$1" >&2
    exit 1
}

[ "$$(uname -m)" = "$machine" ] || fail "this folder is for $platform, and this machine is $$(uname -m)."
command -v "$$python" >/dev/null || fail "there is no $$python. Install Python $python, or name it by PYTHON=."
"$$python" -c 'import sys; sys.exit("%d.%d" % sys.version_info[:2] != "$python")' ||
    fail "$$python is not Python $python, for which these wheels are."
"$$python" -c 'import struct; exit(struct.calcsize("P") != 8)' ||
    fail "$$python is a 32-bit program, and onnxruntime has wheels for 64-bit ones only."
[ "$$(uname -s)" != Linux ] || "$$python" -c 'import platform; exit(platform.libc_ver()[0] != "glibc")' ||
    fail "$$python does not use glibc, for which these wheels are."
if command -v sha256sum >/dev/null; then
    (cd "$$here" && sha256sum -c SHA256SUMS >/dev/null) || fail "files are damaged: copy the folder again."
fi

[ ! -e "$$target" ] || [ -f "$$target/pyvenv.cfg" ] ||
    fail "$$target is there and is no virtual environment; it is not overwritten. Name another folder."
"$$python" -m venv --clear "$$target" || fail "no virtual environment. On Debian: apt install python$python-venv."
"$$target/bin/python" -m pip install --quiet --disable-pip-version-check --no-index \
    --find-links "$$here/wheels" --require-hashes --requirement "$$here/requirements.txt"
"$$target/bin/signs" verify "$$here/bundle"
[ "$${TUNE:-1}" = 0 ] || "$$target/bin/signs" tune "$$here/bundle"
echo "Installed. Next: $$target/bin/signs predict $$here/bundle PICTURE"
