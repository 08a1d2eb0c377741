# As approve-front-door.sh, for Windows.
$ErrorActionPreference = 'Stop'

if (-not $env:SLUICE_APPS) { exit 0 }

foreach ($name in ($env:SLUICE_APPS | ConvertFrom-Json)) {
    $app = az functionapp list --query "[?name=='$name'].id" --output tsv
    if (-not $app) { continue }
    $waiting = az network private-endpoint-connection list --id $app `
        --query "[?properties.privateLinkServiceConnectionState.status=='Pending'].id" --output tsv
    foreach ($connection in $waiting) {
        az network private-endpoint-connection approve --id $connection `
            --description 'Front Door of Sluice' --output none
        Write-Output "${name}: approved Front Door's private connection"
    }
}
