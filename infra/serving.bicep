// Endpoints of models in one region's workspace: who gets how much traffic, and how they scale.
// A step of its own, before and after deployments are made from infra/models/*/*.yml: traffic can go
// only to what is there. docs: infra/models/README.md.
@description('The Azure Machine Learning workspace.')
param workspaceName string
param location string = resourceGroup().location

@description('Of rg-ENV, for rules by the queue; empty: only by the use of the machines.')
param serviceBusId string = ''
param isPrivate bool = true

@description('Each with name, traffic, mirror and deployments; infra/serving.parameters.json has an example.')
param endpoints array

@description('Whether there is a batch endpoint, with a cluster that scales to nothing.')
param batch bool = true
param batchInstanceType string = 'Standard_NC4as_T4_v3'
param batchMostInstances int = 4

var contract = loadJsonContent('contract.json')
var token = last(split(workspaceName, '-'))

resource workspace 'Microsoft.MachineLearningServices/workspaces@2025-12-01' existing = {
  name: workspaceName
}

resource identity 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' existing = {
  name: 'id-sluice-serving-${token}'
}

resource online 'Microsoft.MachineLearningServices/workspaces/onlineEndpoints@2025-12-01' = [for each in endpoints: {
  parent: workspace
  name: '${each.name}-${token}'
  location: location
  identity: { type: 'UserAssigned', userAssignedIdentities: { '${identity.id}': {} } }
  properties: {
    authMode: 'AADToken'
    publicNetworkAccess: isPrivate ? 'Disabled' : 'Enabled'
    traffic: each.traffic
    mirrorTraffic: each.mirror
  }
}]

var scaled = flatten(map(endpoints, each => map(each.deployments, deployment => union(deployment, { endpoint: '${each.name}-${token}' }))))

module scaling 'modules/model-scaling.bicep' = [for each in scaled: {
  name: 'scaling-${each.endpoint}-${each.name}'
  params: {
    location: location
    workspaceName: workspaceName
    endpointName: each.endpoint
    deploymentName: each.name
    least: each.least
    most: each.most
    hasGpu: each.hasGpu
    serviceBusId: serviceBusId
    requestsQueue: contract.requestsQueue
  }
  dependsOn: [online]
}]

resource cluster 'Microsoft.MachineLearningServices/workspaces/computes@2025-12-01' = if (batch) {
  parent: workspace
  name: 'batch'
  location: location
  identity: { type: 'UserAssigned', userAssignedIdentities: { '${identity.id}': {} } }
  properties: {
    computeType: 'AmlCompute'
    disableLocalAuth: true
    properties: {
      vmSize: batchInstanceType
      vmPriority: 'LowPriority'
      enableNodePublicIp: !isPrivate
      scaleSettings: { minNodeCount: 0, maxNodeCount: batchMostInstances, nodeIdleTimeBeforeScaleDown: 'PT5M' }
    }
  }
}

resource batchEndpoint 'Microsoft.MachineLearningServices/workspaces/batchEndpoints@2025-12-01' = if (batch) {
  parent: workspace
  name: 'embed-batch-${token}'
  location: location
  identity: { type: 'UserAssigned', userAssignedIdentities: { '${identity.id}': {} } }
  properties: { authMode: 'AADToken' }
  dependsOn: [cluster]
}

output scoringUris array = [for (each, index) in endpoints: online[index].properties.scoringUri]
