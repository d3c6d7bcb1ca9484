"""Changes a database behind everybody's back: python sql.py FILE STATEMENT; prints the rows changed as JSON."""

import json
import sqlite3
import sys

with sqlite3.connect(sys.argv[1], timeout=30) as connection:
    changed = connection.execute(sys.argv[2]).rowcount
print(json.dumps({"changed": changed}))
