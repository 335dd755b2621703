#!/bin/sh
# Builds the launcher: ./build.sh OUTPUT
set -eu
here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
output=$1
mkdir -p "$(dirname -- "$output")"
# Beside the output first, then renamed: one that runs keeps its file.
"${CC:-cc}" -std=gnu11 -O2 -g -Wall -Wextra -Werror -Wshadow -Wmissing-prototypes -Wstrict-prototypes -o "$output.$$" "$here"/*.c
mv -f "$output.$$" "$output"
