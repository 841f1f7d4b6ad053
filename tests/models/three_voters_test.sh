#!/bin/sh
# The smallest shape of the model of leases holds, and what breaks it is found. All: ./dev model.
command -v spin >/dev/null || exit 77
exec "$(dirname "$0")/models.py" three-voters
