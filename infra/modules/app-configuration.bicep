// Settings that all regions share, for app settings that refer to them by
// @Microsoft.AppConfiguration(Endpoint=...; Key=...). It holds none to begin with.
param name string
param location string
param tags object
param isPrivate bool
param replicas array
param workspaceId string

resource store 'Microsoft.AppConfiguration/configurationStores@2024-06-01' = {
  name: name
  location: location
  tags: tags
  sku: { name: 'standard' }
  properties: {
    disableLocalAuth: true
    publicNetworkAccess: isPrivate ? 'Disabled' : 'Enabled'
    enablePurgeProtection: true
    softDeleteRetentionInDays: 7
  }
}

resource replica 'Microsoft.AppConfiguration/configurationStores/replicas@2024-06-01' = [for region in replicas: {
  parent: store
  name: replace(region, ' ', '')
  location: region
}]

resource diagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'to-workspace'
  scope: store
  properties: {
    workspaceId: workspaceId
    logs: [{ categoryGroup: 'allLogs', enabled: true }]
    metrics: [{ category: 'AllMetrics', enabled: true }]
  }
}

output id string = store.id
