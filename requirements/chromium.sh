#!/bin/sh
# Sees to it that the console's tests have a Chromium: in CI, as root, it is installed. On a person's
# machine nothing is installed: the tests that need it are skipped, and this says how to have them.
set -eu

for program in "${CHROMIUM:-}" chromium chromium-browser google-chrome; do
    if [ -n "$program" ] && command -v "$program" >/dev/null; then exit 0; fi
done

if [ "${CI:-}" = true ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium >/dev/null
else
    printf '%s\n' "No Chromium here: the tests of pages in a browser are skipped. To run them:" \
        "    apt-get install chromium" >&2
fi
