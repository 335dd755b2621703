#!/bin/sh
# Builds the interposer: ./build.sh OUTPUT.so [further compiler options]
set -eu
here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
output=$1
shift
mkdir -p "$(dirname -- "$output")"
# Beside the output first, then renamed: a running server keeps the library it has mapped.
"${CC:-cc}" -std=gnu11 -O2 -g -Wall -Wextra -Werror -Wshadow -Wmissing-prototypes -Wstrict-prototypes \
  -U_FORTIFY_SOURCE -fPIC -shared -fvisibility=hidden -fno-plt -Wl,-z,defs -Wl,-soname,interposer.so \
  "$@" -o "$output.$$" "$here"/*.c -ldl
mv -f "$output.$$" "$output"
