// Everything of one region. A stamp needs no other one to take calls and to end what it accepted.
param location string
param tags object
param token string
param addressSpace string

@description('A stamp that stands by takes no messages; HTTP reaches it when Front Door sends it there.')
param isStandby bool
param isPrivate bool
param plan string
param durableBackend string
param egress string
param size object
param storageSku string
param contract object
param replyQueueNames array
param serviceBusId string
param serviceBusHost string
param settingsStoreId string
param hasSettingsStore bool
param workspaceId string
param insightsId string
param insightsConnection string
param isBehindFrontDoor bool
param frontDoorId string
param blobDoor bool
param deployerAddresses array
param chatModel string
param chatModelVersion string
param entraClientId string
param deployerId string
param operatorId string
param operatorType string
param ownKeys bool

var storageHost = environment().suffixes.storage
var hostAccountName = 'stsluicehost${token}'
var dataAccountName = 'stsluicedata${token}'
var modelsAccountName = 'stsluiceml${token}'
var vaultName = 'kv-sluice-${token}'
var openAiName = 'oai-sluice-${token}'
var registryName = 'crsluice${token}'
var machineLearningName = 'mlw-sluice-${token}'
var appName = 'func-sluice-${token}'
var packageContainer = 'app-package'
var usesScheduler = durableBackend == 'durableTaskScheduler'
var schedulerName = 'dts-sluice-${token}'
var subnetId = isPrivate ? network.outputs.endpointsSubnetId : ''

resource appIdentity 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' = {
  name: 'id-sluice-app-${token}'
  location: location
  tags: tags
}

resource servingIdentity 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' = {
  name: 'id-sluice-serving-${token}'
  location: location
  tags: tags
}

module network 'network.bicep' = if (isPrivate) {
  name: 'network'
  params: {
    name: 'sluice-${token}'
    location: location
    tags: tags
    addressSpace: addressSpace
    appDelegation: plan == 'flexConsumption' ? 'Microsoft.App/environments' : 'Microsoft.Web/serverFarms'
    isZoneRedundant: size.zoneRedundant
    hasFirewall: egress == 'firewall'
    workspaceId: workspaceId
  }
}

module zones 'private-dns.bicep' = if (isPrivate) {
  name: 'private-dns'
  params: {
    tags: tags
    networkId: network.outputs.networkId
  }
}

module customerKey 'customer-key.bicep' = if (ownKeys) {
  name: 'customer-key'
  params: {
    vaultName: vaultName
    identityName: 'id-sluice-keys-${token}'
    location: location
    tags: tags
  }
  dependsOn: [vault]
}

module keyRoles 'roles.bicep' = if (ownKeys) {
  name: 'roles-of-keys'
  params: {
    keyPrincipalId: ownKeys ? customerKey.outputs.principalId : ''
    keyVaultName: vaultName
  }
}

module hostStorage 'storage.bicep' = {
  name: 'storage-host'
  params: {
    name: hostAccountName
    location: location
    tags: tags
    // The task hub is in it: with the other account it is all that jobs need to go on elsewhere.
    sku: storageSku
    isPrivate: isPrivate
    subnetId: subnetId
    services: ['blob', 'queue', 'table']
    containers: [{ name: packageContainer, deleteAfterDays: 0 }]
    workspaceId: workspaceId
    hasOwnKey: ownKeys
    keyIdentityId: ownKeys ? customerKey.outputs.identityId : ''
    keyVaultUri: ownKeys ? customerKey.outputs.vaultUri : ''
    keyName: ownKeys ? customerKey.outputs.keyName : ''
  }
  dependsOn: [zones, keyRoles]
}

module dataStorage 'storage.bicep' = {
  name: 'storage-data'
  params: {
    name: dataAccountName
    location: location
    tags: tags
    sku: storageSku
    isPrivate: isPrivate
    subnetId: subnetId
    services: ['blob', 'queue']
    containers: contract.containers
    workspaceId: workspaceId
    hasOwnKey: ownKeys
    keyIdentityId: ownKeys ? customerKey.outputs.identityId : ''
    keyVaultUri: ownKeys ? customerKey.outputs.vaultUri : ''
    keyName: ownKeys ? customerKey.outputs.keyName : ''
  }
  dependsOn: [zones, keyRoles]
}

module vault 'key-vault.bicep' = {
  name: 'key-vault'
  params: {
    name: vaultName
    location: location
    tags: tags
    isPrivate: isPrivate
    subnetId: subnetId
    workspaceId: workspaceId
  }
  dependsOn: [zones]
}

module openAi 'open-ai.bicep' = {
  name: 'open-ai'
  params: {
    name: openAiName
    location: location
    tags: tags
    isPrivate: isPrivate
    subnetId: subnetId
    deploymentSku: size.openAi.sku
    capacity: size.openAi.capacity
    model: chatModel
    modelVersion: chatModelVersion
    workspaceId: workspaceId
  }
  dependsOn: [zones]
}

module machineLearning 'machine-learning.bicep' = {
  name: 'machine-learning'
  params: {
    name: machineLearningName
    location: location
    tags: tags
    isPrivate: isPrivate
    subnetId: subnetId
    onlyApprovedOutbound: egress == 'firewall'
    storageName: modelsAccountName
    storageSku: size.storageSku
    registryName: registryName
    registrySku: isPrivate ? 'Premium' : size.machineLearning.registrySku
    isZoneRedundant: size.zoneRedundant
    vaultId: vault.outputs.id
    insightsId: insightsId
    workspaceId: workspaceId
  }
  dependsOn: [zones]
}

module scheduler 'durable-task.bicep' = if (usesScheduler) {
  name: 'durable-task'
  params: {
    name: schedulerName
    location: location
    tags: tags
    taskHub: contract.taskHub
    sku: size.scheduler.sku
    capacity: size.scheduler.capacity
    isPrivate: isPrivate
    subnetId: subnetId
  }
  dependsOn: [zones]
}

module app 'function-app.bicep' = {
  name: 'function-app'
  params: {
    name: appName
    location: location
    tags: tags
    plan: plan
    size: size.app
    isZoneRedundant: size.zoneRedundant
    isPrivate: isPrivate
    isStandby: isStandby
    appSubnetId: isPrivate ? network.outputs.appSubnetId : ''
    endpointsSubnetId: subnetId
    identityId: appIdentity.id
    identityClientId: appIdentity.properties.clientId
    packageUrl: 'https://${hostAccountName}.blob.${storageHost}/${packageContainer}'
    hostAccountName: hostAccountName
    dataAccountName: dataAccountName
    serviceBusHost: serviceBusHost
    contract: contract
    replyQueueNames: replyQueueNames
    endpointUrls: map(contract.endpoints, endpoint => {
      name: endpoint
      url: 'https://${endpoint}-${token}.${location}.inference.ml.azure.com/score'
    })
    chatUrl: 'https://${openAiName}.openai.azure.com/openai/v1'
    chatDeployment: chatModel
    schedulerEndpoint: usesScheduler ? scheduler.outputs.endpoint : ''
    usesScheduler: usesScheduler
    insightsConnection: insightsConnection
    isBehindFrontDoor: isBehindFrontDoor
    frontDoorId: frontDoorId
    blobDoor: blobDoor
    deployerAddresses: deployerAddresses
    entraClientId: entraClientId
    workspaceId: workspaceId
  }
  // The host reads its package and writes its leases as soon as it is there.
  dependsOn: [hostStorage, dataStorage, roles, zones]
}

module roles 'roles.bicep' = {
  name: 'roles'
  params: {
    appPrincipalId: appIdentity.properties.principalId
    servingPrincipalId: servingIdentity.properties.principalId
    deployerId: deployerId
    operatorId: operatorId
    operatorType: operatorType
    hostAccountName: hostAccountName
    dataAccountName: dataAccountName
    modelsAccountName: modelsAccountName
    vaultName: vaultName
    openAiName: openAiName
    machineLearningName: machineLearningName
    registryName: registryName
    schedulerName: usesScheduler ? schedulerName : ''
  }
  dependsOn: [hostStorage, dataStorage, vault, openAi, machineLearning, scheduler]
}

module serviceBusEndpoint 'private-endpoint.bicep' = if (isPrivate) {
  name: 'endpoint-service-bus'
  params: {
    name: 'pe-service-bus-${token}'
    location: location
    tags: tags
    subnetId: subnetId
    targetId: serviceBusId
    groupId: 'namespace'
    zoneNames: ['privatelink.servicebus.windows.net']
  }
  dependsOn: [zones]
}

module settingsEndpoint 'private-endpoint.bicep' = if (isPrivate && hasSettingsStore) {
  name: 'endpoint-app-configuration'
  params: {
    name: 'pe-app-configuration-${token}'
    location: location
    tags: tags
    subnetId: subnetId
    targetId: settingsStoreId
    groupId: 'configurationStores'
    zoneNames: ['privatelink.azconfig.io']
  }
  dependsOn: [zones]
}

output appId string = app.outputs.id
output appName string = appName
output appHost string = app.outputs.host
output appPrincipalId string = appIdentity.properties.principalId
output machineLearningName string = machineLearningName
output dataAccountName string = dataAccountName
