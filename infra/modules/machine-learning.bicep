// The workspace that models are registered and served in. Endpoints and deployments come with
// infra/serving.bicep: they change with each model, this does not.
param name string
param location string
param tags object
param isPrivate bool
param subnetId string

@description('Whether containers of models reach only what is approved by name.')
param onlyApprovedOutbound bool
param storageName string
param storageSku string
param registryName string
param registrySku string
param isZoneRedundant bool
param vaultId string
param insightsId string
param workspaceId string

module storage 'storage.bicep' = {
  name: 'storage-models'
  params: {
    name: storageName
    location: location
    tags: tags
    sku: storageSku
    isPrivate: isPrivate
    subnetId: subnetId
    services: ['blob', 'file']
    containers: []
    workspaceId: workspaceId
  }
}

resource registry 'Microsoft.ContainerRegistry/registries@2025-04-01' = {
  name: registryName
  location: location
  tags: tags
  sku: { name: registrySku }
  properties: {
    adminUserEnabled: false
    anonymousPullEnabled: false
    publicNetworkAccess: isPrivate ? 'Disabled' : 'Enabled'
    networkRuleBypassOptions: 'AzureServices'
    zoneRedundancy: registrySku == 'Premium' && isZoneRedundant ? 'Enabled' : 'Disabled'
  }
}

resource workspace 'Microsoft.MachineLearningServices/workspaces@2025-12-01' = {
  name: name
  location: location
  tags: tags
  sku: { name: 'Basic', tier: 'Basic' }
  // Made with the workspace, which gives itself what it needs of storage, vault and registry.
  identity: { type: 'SystemAssigned' }
  properties: {
    friendlyName: name
    storageAccount: storage.outputs.id
    containerRegistry: registry.id
    keyVault: vaultId
    applicationInsights: insightsId
    systemDatastoresAuthMode: 'Identity'
    publicNetworkAccess: isPrivate ? 'Disabled' : 'Enabled'
    v1LegacyMode: false
    managedNetwork: {
      isolationMode: !isPrivate ? 'Disabled' : onlyApprovedOutbound ? 'AllowOnlyApprovedOutbound' : 'AllowInternetOutbound'
    }
    provisionNetworkNow: isPrivate
  }
}

module registryEndpoint 'private-endpoint.bicep' = if (isPrivate) {
  name: 'endpoint-${registryName}'
  params: {
    name: 'pe-${registryName}'
    location: location
    tags: tags
    subnetId: subnetId
    targetId: registry.id
    groupId: 'registry'
    zoneNames: ['privatelink.azurecr.io']
  }
}

module workspaceEndpoint 'private-endpoint.bicep' = if (isPrivate) {
  name: 'endpoint-${name}'
  params: {
    name: 'pe-${name}'
    location: location
    tags: tags
    subnetId: subnetId
    targetId: workspace.id
    groupId: 'amlworkspace'
    zoneNames: ['privatelink.api.azureml.ms', 'privatelink.notebooks.azure.net']
  }
}

resource diagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'to-workspace'
  scope: workspace
  properties: {
    workspaceId: workspaceId
    logs: [{ categoryGroup: 'allLogs', enabled: true }]
    metrics: [{ category: 'AllMetrics', enabled: true }]
  }
}
