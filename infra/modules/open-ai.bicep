// Azure OpenAI with one deployment of the chat model.
param name string
param location string
param tags object
param isPrivate bool
param subnetId string

@description('GlobalStandard, DataZoneStandard, Standard, or ProvisionedManaged with units as capacity.')
param deploymentSku string

@description('Thousands of tokens a minute, or provisioned units.')
param capacity int
param model string
param modelVersion string
param workspaceId string

resource account 'Microsoft.CognitiveServices/accounts@2025-06-01' = {
  name: name
  location: location
  tags: tags
  kind: 'OpenAI'
  sku: { name: 'S0' }
  properties: {
    // Tokens of Entra ID need a name of its own.
    customSubDomainName: name
    disableLocalAuth: true
    publicNetworkAccess: isPrivate ? 'Disabled' : 'Enabled'
    networkAcls: { defaultAction: isPrivate ? 'Deny' : 'Allow' }
  }
}

resource chat 'Microsoft.CognitiveServices/accounts/deployments@2025-06-01' = {
  parent: account
  name: model
  sku: { name: deploymentSku, capacity: capacity }
  properties: {
    model: { format: 'OpenAI', name: model, version: modelVersion }
    // A new version is a rollout, not a surprise.
    versionUpgradeOption: 'OnceCurrentVersionExpired'
  }
}

module endpoint 'private-endpoint.bicep' = if (isPrivate) {
  name: 'endpoint-${name}'
  params: {
    name: 'pe-${name}'
    location: location
    tags: tags
    subnetId: subnetId
    targetId: account.id
    groupId: 'account'
    zoneNames: ['privatelink.openai.azure.com', 'privatelink.cognitiveservices.azure.com']
  }
  dependsOn: [chat]
}

resource diagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'to-workspace'
  scope: account
  properties: {
    workspaceId: workspaceId
    // Not RequestResponse: neither prompts nor answers belong in a log.
    logs: [{ category: 'Audit', enabled: true }]
    metrics: [{ category: 'AllMetrics', enabled: true }]
  }
}
