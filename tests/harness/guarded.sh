# Runs a server that must not outlive who started it: guarded.sh PID FOLDER PROGRAM ARGS…
# When the process PID is gone, the server is ended and FOLDER removed, with its lock file. Ends with the server.
watched=$1 folder=$2
shift 2
"$@" &
server=$!
(
  while [ -d "/proc/$watched" ]; do sleep 1; done
  # Whoever froze it can't wake it any more.
  for pid in $server $(cat "/proc/$server/task/$server/children"); do kill -CONT "$pid"; done
  kill -TERM "$server"
  kill -INT "$server"
) &
watcher=$!
wait "$server"
[ -d "/proc/$watched" ] || rm -rf "$folder" "$folder.lock"
kill "$watcher"
