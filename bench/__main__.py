"""`python -m bench`: every published figure, one after the other."""

import subprocess
import sys

PARTS = ("engine", "streams", "provider_stream", "first_word", "boards", "webhooks", "memory")

for part in PARTS:
    subprocess.run([sys.executable, "-m", f"bench.{part}"], check=True)
