#!/bin/sh
# Sees to it that tests have the programs that are no Python packages: `sh requirements/debian.sh [chromium] [prometheus]`,
# both if none is named. In CI, as root, they are installed. On a person's machine nothing is installed: the tests that
# need them are skipped, and this says how to have them.
set -eu

have() { # Prometheus is found by its tool: both come with one package
    case $1 in
        chromium) set -- "${CHROMIUM:-}" chromium chromium-browser google-chrome ;;
        prometheus) set -- promtool ;;
    esac
    for program; do
        if [ -n "$program" ] && command -v "$program" >/dev/null; then return; fi
    done
    return 1
}

install() { # Debian starts the servers that it installs, unless there is a policy that says no
    policy=/usr/sbin/policy-rc.d
    if ! [ -e $policy ]; then
        printf '#!/bin/sh\nexit 101\n' >$policy
        chmod +x $policy
        trap 'rm -f $policy' EXIT
    fi
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

if [ $# = 0 ]; then set -- chromium prometheus; fi
missing=
for package; do have "$package" || missing="$missing $package"; done
if [ -z "$missing" ]; then exit 0; fi

if [ "${CI:-}" = true ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    # shellcheck disable=SC2086  # two words are two packages
    install $missing
else
    printf '%s\n' "Not here:$missing. The tests that need it are skipped. To run them:" \
        "    apt-get install --no-install-recommends$missing" >&2
fi
