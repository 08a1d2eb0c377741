#!/bin/sh
# Puts a package on a Functions app: deploy.sh GROUP APP PACKAGE
# Flex Consumption takes it by its deployment door; Elastic Premium reads it from its container.
set -eu
group=$1 app=$2 package=$3

package_url=$(az functionapp config appsettings list --resource-group "$group" --name "$app" \
  --query "[?name=='WEBSITE_RUN_FROM_PACKAGE'].value" --output tsv)
if [ -n "$package_url" ]; then
  account=$(echo "$package_url" | sed 's|https://\([^.]*\)\..*|\1|')
  az storage blob upload --auth-mode login --account-name "$account" --container-name app-package \
    --name app.zip --file "$package" --overwrite --output none
  az functionapp restart --resource-group "$group" --name "$app"
else
  az functionapp deployment source config-zip --resource-group "$group" --name "$app" \
    --src "$package" --output none
fi
echo "$app: has $package"
