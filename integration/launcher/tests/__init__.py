"""The launcher's own tests: `python3 -m unittest discover -s launcher/tests -t .` in `integration/`."""
