# Reads a dashboard as Grafana's own kinds have it, and names whatever they do not take.
import json
import sys

from grafana_foundation_sdk.cog import encoder, plugins
from grafana_foundation_sdk.models import dashboard


def lost(given, held, place):
    if isinstance(given, dict) and isinstance(held, dict):
        for key, value in given.items():
            inner = f"{place}.{key}"
            yield from lost(value, held[key], inner) if key in held else [inner]
    elif isinstance(given, list) and isinstance(held, list) and len(given) == len(held):
        for index, (one, other) in enumerate(zip(given, held)):
            yield from lost(one, other, f"{place}[{index}]")
    elif given != held:
        yield place


plugins.register_default_plugins()
given = json.load(sys.stdin)
held = json.loads(encoder.JSONEncoder().encode(dashboard.Dashboard.from_json(given)))
for place in lost(given, held, "dashboard"):
    print(place)
