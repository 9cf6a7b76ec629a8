#!/bin/sh
# Installs quintile as a service of this machine, or brings an installed one up to date:
#
#   sudo packaging/install.sh [--binary FILE] [--shop NAME]
#
# --binary  the program (default: the `quintile` beside this script, else target/release/quintile)
# --shop    a shop of its own beside others: /var/lib/quintile-NAME, service quintile@NAME
#
# Makes the user `quintile`, /usr/local/bin/quintile, the service, and with `quintile init` the shop's folder
# with its configuration and database. Never overwrites a configuration or a database. The program is one for
# all shops, so it restarts the service of each that runs. Starts nothing that was not running: a shop's
# configuration is first looked at by somebody.
#
# With DESTDIR set it only lays the files out below that folder (for packages and tests): no user, no service.
set -eu

fail() { echo "install.sh: $*" >&2; exit 1; }

# `running STATE`: the services of all shops that are in it, a line each.
running() {
  systemctl list-units --plain --no-legend --state="$1" quintile.service 'quintile@*.service' |
    awk '{ sub(/\.service$/, "", $1); print $1 }'
}

# All at once, so that one that does not start keeps no other from it. Whatever still waits at its start for its
# database is not waited for.
restart_running() {
  waiting=$(running activating)
  active=$(running active)
  # shellcheck disable=SC2086 # a word for each
  {
    [ -z "$waiting" ] || systemctl --no-block restart $waiting
    [ -z "$active" ] || systemctl restart $active
    [ -z "$waiting$active" ] || printf 'restarted %s\n' $waiting $active
  }
}

here=$(cd "$(dirname "$0")" && pwd)
binary=
shop=
while [ $# -gt 0 ]; do
  case $1 in
    --binary | --shop) [ $# -ge 2 ] || fail "$1 wants a value" ;;
  esac
  case $1 in
    --binary) binary=$2; shift 2 ;;
    --shop) [ -n "$2" ] || fail "--shop wants a name"; shop=$2; shift 2 ;;
    -h | --help) sed -n '2,/^set -eu/{/^#/s/^# \{0,1\}//p}' "$0"; exit 0 ;;
    *) fail "unknown argument $1; see --help" ;;
  esac
done
case $shop in
  *[!a-z0-9-]*) fail "--shop $shop: small letters, digits and - only" ;;
  -*) fail "--shop $shop: begin with a small letter or a digit" ;;
  quintile) fail "--shop quintile: the shop without a name has /etc/quintile/quintile.env; choose another, like the shop's town" ;;
esac
if [ -z "$binary" ]; then
  for candidate in "$here/quintile" "$here/../target/release/quintile"; do
    if [ -x "$candidate" ]; then binary=$candidate; break; fi
  done
fi
[ -n "$binary" ] || fail "no program found; build it with 'cargo build --release' or name one with --binary"
"$binary" --version >/dev/null 2>&1 || fail "$binary does not run on this machine"

root=${DESTDIR:-}
live=no
if [ -z "$root" ]; then
  [ "$(id -u)" -eq 0 ] || fail "needs root; run it with sudo"
  live=yes
fi
if [ -n "$shop" ]; then
  name=quintile-$shop
  service=quintile@$shop
  secrets=$shop
else
  name=quintile
  service=quintile
  secrets=quintile
fi
folder=$root/var/lib/$name

if [ $live = yes ] && ! id quintile >/dev/null 2>&1; then
  useradd --system --home-dir /nonexistent --no-create-home --shell /usr/sbin/nologin quintile
fi

# Beside the old one and then in its place: what runs keeps running until it is restarted.
install -D -m 0755 "$binary" "$root/usr/local/bin/quintile.new"
mv "$root/usr/local/bin/quintile.new" "$root/usr/local/bin/quintile"
for unit in quintile.service quintile@.service; do
  install -D -m 0644 "$here/$unit" "$root/etc/systemd/system/$unit"
done
install -d -m 0700 "$root/etc/quintile"
if [ ! -e "$root/etc/quintile/$secrets.env" ]; then
  (umask 077 && printf '%s\n' "# Secrets and overrides of $service, e.g. KLAVIYO_KEY=…" \
    >"$root/etc/quintile/$secrets.env")
fi

if [ -e "$folder/config.toml" ]; then
  echo "kept      $folder"
else
  install -d -m 0700 "$folder"
  if [ $live = yes ]; then
    chown quintile:quintile "$folder"
    runuser -u quintile -- /usr/local/bin/quintile init "$folder" >/dev/null
  else
    "$root/usr/local/bin/quintile" init "$folder" >/dev/null
  fi
  echo "made      $folder"
fi
echo "installed $("$root/usr/local/bin/quintile" --version) as $service"
[ $live = yes ] || exit 0

if command -v systemctl >/dev/null 2>&1 && [ -d /run/systemd/system ]; then
  systemctl daemon-reload
  restarted=$(restart_running)
  [ -z "$restarted" ] || echo "$restarted"
  if echo "$restarted" | grep -qxF "restarted $service"; then exit 0; fi
  echo "next      edit $folder/config.toml, then: systemctl enable --now $service"
else
  echo "next      edit $folder/config.toml, then: quintile serve --config $folder/config.toml"
fi
