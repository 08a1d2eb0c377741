#!/bin/sh
# Whether a deployment works: smoke.sh URL [JSON_OF_A_JOB]
# SLUICE_HEADER says who asks: "x-functions-key: KEY", or "Authorization: Bearer KEY".
set -eu
url=$1
job=${2:-'{"flow": "embed", "input": {"text": "It works."}}'}
header=${SLUICE_HEADER:?for example "x-functions-key: KEY"}

tries=60
until [ "$(curl --silent --output /dev/null --write-out '%{http_code}' --max-time 10 "$url/healthz")" = 200 ]; do
  tries=$((tries - 1))
  [ "$tries" -gt 0 ] || { echo "$url/healthz does not answer 200" >&2; exit 1; }
  sleep 5
done
echo "healthy"

curl --silent --show-error --fail --max-time 30 --header "$header" "$url/v1/flows" >/dev/null
echo "takes the caller"

answer=$(curl --silent --show-error --fail --max-time 120 --header "$header" \
  --header 'Content-Type: application/json' --header 'Prefer: wait=90' \
  --data "$job" "$url/v1/jobs")
case $answer in
  *'"status":"succeeded"'* | *'"status": "succeeded"'*) echo "ran a job" ;;
  *) echo "the job did not succeed: $answer" >&2; exit 1 ;;
esac
