#!/usr/bin/env bash
# Envoy as the first process of a container. On SIGTERM Envoy alone would end at once and cut every running stream; here
# it first takes no more connections, then waits until no request is under way. How long that may take is the
# container's stop grace period.
#
#   envoy.sh run ARGUMENT...   start Envoy with these arguments
#   envoy.sh ready             whether it takes traffic, as the exit code
#
# The image has bash, but neither curl nor Python.
set -uo pipefail

# Of the admin interface in the bootstrap.
admin_port=${ADMIN_PORT:-9901}

ask() { # METHOD PATH: prints the reply
  {
    printf '%s %s HTTP/1.1\r\nhost: envoy\r\ncontent-length: 0\r\nconnection: close\r\n\r\n' "$1" "$2" >&3
    cat <&3
  } 2>/dev/null 3<>"/dev/tcp/127.0.0.1/$admin_port"
}

ready() {
  [[ $(ask GET /ready) == 'HTTP/1.1 200 '* ]]
}

busy() {
  [[ $(ask GET '/stats?filter=http.edge.downstream_rq_active') =~ downstream_rq_active:\ [1-9] ]]
}

drain() {
  trap '' TERM INT
  # Of clients only: the provider listeners are still needed.
  ask POST '/drain_listeners?inboundonly' >/dev/null
  while busy; do
    sleep 0.2
  done
  kill -TERM "$envoy"
  wait "$envoy"
  exit
}

run() {
  envoy "$@" &
  envoy=$!
  trap drain TERM INT
  wait "$envoy"
}

"$@"
