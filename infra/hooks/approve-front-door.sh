#!/bin/sh
# Lets Front Door in: its private connection to each app waits for somebody to approve it. Run by azd
# after `azd provision`; harmless when there is nothing to approve.
set -eu

for name in $(echo "${SLUICE_APPS:-[]}" | tr -d '[]"\n' | tr ',' ' '); do
  app=$(az functionapp list --query "[?name=='$name'].id" --output tsv)
  [ -n "$app" ] || continue
  waiting=$(az network private-endpoint-connection list --id "$app" \
    --query "[?properties.privateLinkServiceConnectionState.status=='Pending'].id" --output tsv)
  for connection in $waiting; do
    az network private-endpoint-connection approve --id "$connection" \
      --description "Front Door of Sluice" --output none
    echo "$name: approved Front Door's private connection"
  done
done
