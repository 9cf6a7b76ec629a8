#!/bin/sh
# Packs a built program with what installs it: `packaging/archive.sh BINARY TARGET FOLDER` writes
# FOLDER/quintile-VERSION-TARGET.tar.gz and its .sha256.
set -eu
[ $# -eq 3 ] || { echo "usage: packaging/archive.sh BINARY TARGET FOLDER" >&2; exit 2; }
# A program that grows without anybody deciding it is noticed here.
most=15000000
size=$(wc -c <"$1")
[ "$size" -le $most ] || { echo "archive.sh: $1 has $size bytes, more than $most" >&2; exit 1; }
here=$(cd "$(dirname "$0")" && pwd)
version=$("$1" --version | cut -d' ' -f2)
name=quintile-$version-$2
mkdir -p "$3/$name"
install -m 0755 "$1" "$3/$name/quintile"
install -m 0755 "$here/install.sh" "$3/$name/"
install -m 0644 "$here"/quintile*.service "$here"/litestream-*.yml \
  "$here/../README.md" "$here/../CHANGELOG.md" "$here/../LICENSE" "$here/../config.toml" "$3/$name/"
# The same input gives the same bytes.
tar -C "$3" --sort=name --owner=0 --group=0 --numeric-owner --mtime="@${SOURCE_DATE_EPOCH:-0}" -cf - "$name" |
  gzip -n >"$3/$name.tar.gz"
rm -r "${3:?}/$name"
(cd "$3" && sha256sum "$name.tar.gz" >"$name.tar.gz.sha256")
